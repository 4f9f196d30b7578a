//! Keeping a sealed result's files as long as somebody may want them, and removing them then, again where they did not go.
//!
//! What can't be removed still takes its room on the disk: it is told to the node's operator, and a lease for which it leaves none is declined,
//! so that nobody waits for it.

use std::{io, path::Path, sync::Arc, time::Duration};

use crate::{
    admission::Admission,
    agent::Shared,
    files,
    journal::{Journal, Sealed},
};

/// How often what did not go is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Keeps a sealed result with its output files, and their room on the disk. Where that fails nothing of it is kept but what can't be removed,
/// which is counted and tried again like any.
pub(crate) fn keep(
    journal: &Journal,
    admission: &Admission,
    sealed: &Sealed,
    outputs: Option<&Path>,
) -> io::Result<()> {
    let bytes = outputs.map_or(Ok(0), files::bytes_in)?;
    admission.keeps(sealed.assignment(), bytes);
    let kept = journal.keep(sealed, outputs);
    kept.inspect_err(|_| discard(journal, admission, sealed.assignment()))
}

/// Removes what is kept of a sealed result.
pub(crate) fn discard(journal: &Journal, admission: &Admission, assignment: &str) {
    match journal.remove(assignment) {
        Ok(()) => admission.discarded(assignment),
        Err(error) => stays(admission, assignment, &error),
    }
}

/// What an earlier process could not remove either.
pub(crate) fn take_over(journal: &Journal, admission: &Admission) -> io::Result<()> {
    for assignment in journal.leftovers()? {
        let bytes = journal.bytes(&assignment).unwrap_or(0);
        admission.keeps(&assignment, bytes);
        discard(journal, admission, &assignment);
    }
    Ok(())
}

fn stays(admission: &Admission, assignment: &str, error: &io::Error) {
    if admission.stays(assignment) {
        tracing::error!(
            assignment,
            %error,
            again_s = AGAIN.as_secs(),
            "a result that is done with can't be removed from the folder `sealed` and takes room from runs: remove it by hand if this does not end"
        );
    }
}

/// Tries what did not go again and again.
pub(crate) async fn keep_trying(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        try_again(&shared.journal, &shared.admission);
    }
}

fn try_again(journal: &Journal, admission: &Admission) {
    for assignment in admission.staying() {
        discard(journal, admission, &assignment);
        if !admission.staying().contains(&assignment) {
            tracing::info!(assignment, "a result that is done with is removed at last");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        fs,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;
    use crate::{admission::tests::admission, allowance::tests::lease, journal::tests::sealed};

    /// A file where a folder belongs can't be removed as one, whoever tries.
    fn in_the_way(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
        let path = folder.join("sealed").join(name);
        fs::write(&path, [0; 10]).unwrap();
        path
    }

    #[test]
    fn what_does_not_go_is_tried_again_and_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, admission) = (Journal::open(folder.path()).unwrap(), admission());
        let path = in_the_way(folder.path(), "A");
        // 1,000 MiB in all, of which a lease of 500 takes 565.
        admission.keeps("A", 500 << 20);
        let enter = |output_mib| {
            let lease = lease(1, output_mib, None);
            let mut entering = pin!(admission.enter(&lease));
            match entering
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            {
                Poll::Ready(entered) => Some(entered.map(drop)),
                Poll::Pending => None,
            }
        };
        assert!(enter(500).is_none(), "it waits until the result is opened");
        discard(&journal, &admission, "A");
        assert_eq!(admission.staying(), ["A"]);
        let refused = enter(500).unwrap().unwrap_err().to_string();
        assert!(refused.contains("MiB of storage"), "{refused}");
        assert!(enter(400).unwrap().is_ok(), "and the line goes on");
        try_again(&journal, &admission);
        assert_eq!(admission.staying(), ["A"]);
        fs::remove_file(path).unwrap();
        try_again(&journal, &admission);
        assert!(admission.staying().is_empty());
        assert!(enter(500).unwrap().is_ok());
    }

    #[test]
    fn what_a_result_leaves_that_could_not_be_kept_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, admission) = (Journal::open(folder.path()).unwrap(), admission());
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        fs::write(run.join("weights"), [0; 10]).unwrap();
        let sealed = sealed();
        let path = in_the_way(folder.path(), sealed.assignment());
        keep(&journal, &admission, &sealed, Some(&run)).unwrap_err();
        assert_eq!(admission.staying(), [sealed.assignment()]);
        assert!(journal.all().unwrap().is_empty());
        fs::remove_file(path).unwrap();
        try_again(&journal, &admission);
        assert!(admission.staying().is_empty());
        keep(&journal, &admission, &sealed, Some(&run)).unwrap();
        assert!(admission.staying().is_empty());
        assert_eq!(journal.bytes(sealed.assignment()).unwrap(), 10);
    }

    #[test]
    fn what_waits_while_a_result_turns_out_to_stay_is_declined() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, admission) = (Journal::open(folder.path()).unwrap(), admission());
        in_the_way(folder.path(), "A");
        admission.keeps("A", 500 << 20);
        let (large, small) = (lease(1, 500, None), lease(1, 1, None));
        let mut context = Context::from_waker(Waker::noop());
        let mut head = pin!(admission.enter(&large));
        let mut next = pin!(admission.enter(&small));
        assert!(head.as_mut().poll(&mut context).is_pending());
        assert!(next.as_mut().poll(&mut context).is_pending());
        discard(&journal, &admission, "A");
        let declined = head.poll(&mut context);
        assert!(matches!(declined, Poll::Ready(Err(_))));
        assert!(matches!(next.poll(&mut context), Poll::Ready(Ok(_))));
    }

    #[test]
    fn what_an_earlier_process_could_not_remove_counts() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join("sealed/left");
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("weights"), [0; 10]).unwrap();
        let (journal, admission) = (Journal::open(folder.path()).unwrap(), admission());
        assert_eq!(journal.leftovers().unwrap(), Vec::<String>::new());
        // As one looks that the sweep could not remove.
        fs::create_dir_all(&left).unwrap();
        assert_eq!(journal.leftovers().unwrap(), ["left"]);
        take_over(&journal, &admission).unwrap();
        assert!(admission.staying().is_empty() && !left.exists());
    }
}
