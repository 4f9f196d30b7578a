//! Capabilities, and who goes first when memory runs out.

use caps::CapSet;
use nix::libc;

use super::Applied;

/// What the system adds to this process's badness when it must end one for memory: the most that there is, so that neither the node nor a
/// stranger's program is chosen in its place. Whatever ran here is run again.
const OOM_SCORE_ADJ: &str = "1000";

/// Makes the calling process the first to be ended for lack of memory; before landlock, which closes the file.
pub(super) fn volunteer_for_oom() -> Applied {
    match std::fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ) {
        Ok(()) => Applied::Full,
        Err(error) => Applied::Not(error.to_string()),
    }
}

/// Lowers the calling thread's claim to processors, and that of what it starts, for good: nothing here may raise it again.
pub(super) fn give_way(nice: i32) -> nix::Result<()> {
    const THIS: libc::id_t = 0;
    // SAFETY: it takes no pointer.
    let set = unsafe { libc::setpriority(libc::PRIO_PROCESS, THIS, nice) };
    nix::errno::Errno::result(set).map(drop)
}

/// Drops every capability of the calling thread and what it starts, for good. A node that is run by root must not hand them on: with
/// them a file's owner, a device's node and another's priority are a call away.
pub(super) fn drop_capabilities() -> Applied {
    // Of programs to come. There are none, for nothing is executed; without the right to it, the bit that forbids to gain privileges says
    // the same.
    for capability in caps::runtime::thread_all_supported() {
        if caps::has_cap(None, CapSet::Bounding, capability).unwrap_or(false)
            && let Err(error) = caps::drop(None, CapSet::Bounding, capability)
        {
            tracing::debug!(%capability, %error, "a capability stays in the bounding set");
        }
    }
    // What is not inheritable is not ambient either.
    let sets = [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted];
    for set in sets {
        if let Err(error) = caps::clear(None, set) {
            return Applied::Not(error.to_string());
        }
    }
    let sets = sets.into_iter().chain([CapSet::Ambient]);
    let left = sets.filter(|set| caps::read(None, *set).is_ok_and(|left| !left.is_empty()));
    match left.count() {
        0 => Applied::Full,
        _ => Applied::Partly,
    }
}
