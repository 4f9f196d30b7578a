//! Judging uploaded modules takes processor time and memory of the server, so that it is rationed: one upload of each account at a time, so
//! many at once of all, so much processor time of each account, and those go first whose account had least. What is known already is not
//! judged again.

mod desk;
mod known;
mod quota;
mod turns;

use std::{sync::Arc, time::Instant};

use aevir_platform::{digest::Digest, ids::AccountId};
use bytes::Bytes;

use crate::{
    error::{ApiError, ApiResult, Code},
    inspect::{InspectError, Inspected, ModuleInspector},
};

use desk::Desk;
use known::Known;
pub(crate) use known::Verdict;
use quota::{Charge, Quota};
pub(crate) use turns::Turn;
use turns::Turns;

/// Seconds after which an upload that could not be judged may come again: about as long as the one before it may take.
const COME_BACK_S: u64 = 60;

/// Everything about judging that outlives one upload.
#[derive(Debug, Default)]
pub(crate) struct Judging {
    turns: Turns,
    quota: Quota,
    desk: Arc<Desk>,
    known: Known,
}

impl Judging {
    /// Waits until no other upload of the account is under way.
    pub(crate) async fn turn(&self, account: AccountId) -> ApiResult<Turn> {
        self.turns.take(account).await
    }

    /// What this server found out of an upload before.
    pub(crate) fn known(&self, upload: Digest) -> Option<Verdict> {
        self.known.get(&upload)
    }

    /// Has an upload judged, when it is the account's turn among all, on its account.
    ///
    /// # Errors
    /// It has no processor time left; it waited for too long; or the module is refused.
    pub(crate) async fn judge(
        &self,
        inspector: &dyn ModuleInspector,
        account: AccountId,
        upload: Digest,
        wasm: Bytes,
    ) -> ApiResult<Inspected> {
        let owed_ms = self.quota.check(account, Instant::now())?;
        let _place = self.desk.place(owed_ms).await?;
        // Whoever goes before it is done pays for what it can have had by the clock.
        let charge = Charge::begin(&self.quota, account);
        let inspection = inspector.inspect(wasm).await;
        charge.settle(inspection.cpu_ms);
        match inspection.verdict {
            Ok(inspected) => {
                if let Some(component) = &inspected.adapted {
                    let adapted = Verdict::Adapted(Digest::of(component));
                    self.known.keep(upload, adapted);
                }
                Ok(inspected)
            }
            Err(error) => {
                if error.is_lasting() {
                    self.known.keep(upload, Verdict::Refused(error.clone()));
                }
                Err(refusal(error))
            }
        }
    }
}

/// The answer to a module that is not taken.
pub(crate) fn refusal(error: InspectError) -> ApiError {
    let detail = error.to_string();
    let code = match error {
        InspectError::NotAComponent(_) => Code::NotAComponent,
        InspectError::WrongWorld(_) => Code::WrongWorld,
        InspectError::ForbiddenImport(_) => Code::ForbiddenImport,
        InspectError::TooComplex(_) | InspectError::TooHeavy(_) => Code::ModuleTooComplex,
        InspectError::BreaksCompiler(_) => Code::ModuleBreaksCompiler,
        InspectError::Unavailable(_) => {
            return ApiError::new(Code::InspectorUnavailable, detail).after(COME_BACK_S);
        }
    };
    ApiError::new(code, detail)
}
