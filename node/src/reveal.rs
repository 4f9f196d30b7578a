//! Opening sealed results: until the platform has taken them, or says that they are no longer wanted.

use std::sync::Arc;

use aevir_wire::{ClientError, Reveal};

use crate::{
    agent::Shared,
    directive::forget,
    held::Held,
    journal::Sealed,
    retry::{Backoff, Tried, full, until_answered},
    seal::commit,
};

/// Opens a sealed result.
pub(crate) async fn reveal(shared: &Shared, assignment: &str) {
    let sealed = match shared.journal.get(assignment) {
        Ok(Some(sealed)) => sealed,
        Ok(None) => return forget(shared, assignment),
        Err(error) => {
            tracing::error!(%error, "the sealed result can't be read");
            return forget(shared, assignment);
        }
    };
    let request = Reveal {
        report: sealed.report.clone(),
        result: sealed.result.clone(),
    };
    let mut backoff = Backoff::default();
    loop {
        let call = || shared.submitter.reveal(assignment, &request);
        match until_answered("reveal", &shared.halt, call).await {
            Tried::Done(()) => {
                tracing::info!("revealed");
                return forget(shared, assignment);
            }
            Tried::Refused(error) if error.code() == Some("reveal-too-early") => {
                shared.holdings.set(assignment, Held::Sealed);
                return;
            }
            // The time to reveal bounds how often: then the answer is that the lease has ended.
            Tried::Refused(error) if wants_outputs(&error) => {
                tracing::warn!(error = full(&error), "uploading the outputs again");
                upload_again(shared, &sealed).await;
            }
            Tried::Refused(error) => {
                tracing::error!(error = full(&error), "the reveal was refused");
                return forget(shared, assignment);
            }
            // The journal still has it: the next start reveals it.
            Tried::Stopped => return,
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => {}
            () = shared.halt.cancelled() => return,
        }
    }
}

fn wants_outputs(error: &ClientError) -> bool {
    matches!(error.code(), Some("output-missing" | "output-not-uploaded"))
}

/// Uploads the kept output files; what does not arrive is tried again with the next reveal.
async fn upload_again(shared: &Shared, sealed: &Sealed) {
    let assignment = sealed.assignment();
    let folder = match shared.journal.outputs(assignment) {
        Ok(folder) => folder,
        Err(error) => return tracing::error!(%error, "the outputs are not kept"),
    };
    for output in &sealed.report.outputs {
        let file = folder.join(&output.name);
        let call = || {
            shared
                .client
                .put_output_file(assignment, &output.digest, &file)
        };
        match until_answered("output", &shared.halt, call).await {
            Tried::Done(_) => {}
            Tried::Refused(error) => {
                tracing::error!(output = output.name, error = full(&error), "not uploaded");
            }
            Tried::Stopped => return,
        }
    }
}

/// Sends the commitment of a result that was sealed before a restart: it may not have arrived, and again does no
/// harm.
pub(crate) async fn recommit(shared: Arc<Shared>, sealed: Sealed) {
    let assignment = sealed.report.assignment.clone();
    match commit(&shared, sealed, &shared.halt).await {
        Tried::Done(()) => tracing::info!("a result sealed before the restart stands"),
        // The round has closed with it: what comes next is told by a directive.
        Tried::Refused(error) if error.code() == Some("round-closed") => {}
        Tried::Refused(error) => {
            tracing::info!(
                error = full(&error),
                "a result sealed before the restart is void"
            );
            forget(&shared, &assignment);
        }
        Tried::Stopped => {}
    }
}
