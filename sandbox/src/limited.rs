//! One request to a process of the compiling role, within bounds, and whose fault it is when it passes them.
//!
//! A compiler is the largest piece of code that a stranger's bytes reach, and a validator the first, so both get the tightest walls: a process
//! of their own, no files but those that it is handed, bounds on processor time, memory and real time, and it ends after one module.
//!
//! The module is judged by the processor time and the memory that it takes, which are much the same on every machine; how long that lasts by
//! the clock says how busy the machine is, and is never the module's fault.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::signal::Signal;
use tokio::time::timeout;

use crate::confine::Role;
use crate::ipc::{CompileBounds, Reply, Request, receive_async};
use crate::limits::{
    COMPILE_CPU_S_MAX, COMPILE_MEMORY_BYTES_MAX, COMPILE_MS_MAX, UPLOAD_CPU_S_MAX,
    UPLOAD_MEMORY_BYTES_MAX, UPLOAD_MS_MAX,
};
use crate::passing::{Handed, send_with_files};
use crate::process::Launcher;

/// How a program says that its stack is used up before it aborts.
const STACK_OVERFLOWED: &str = "has overflowed its stack";
/// Where the system says whether it gives out more memory than it has, and how it says that it never does.
const OVERCOMMIT: &str = "/proc/sys/vm/overcommit_memory";
const NEVER: &str = "2";

/// What one module may use of a compiling process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Seconds of processor time, of all threads together.
    pub cpu_s: u64,
    /// Milliseconds of real time.
    pub wall_ms: u64,
    /// Bytes of writable memory.
    pub memory_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            cpu_s: COMPILE_CPU_S_MAX,
            wall_ms: COMPILE_MS_MAX,
            memory_bytes: COMPILE_MEMORY_BYTES_MAX,
        }
    }
}

impl CompileLimits {
    /// For judging an upload.
    #[must_use]
    pub fn upload() -> Self {
        Self {
            cpu_s: UPLOAD_CPU_S_MAX,
            wall_ms: UPLOAD_MS_MAX,
            memory_bytes: UPLOAD_MEMORY_BYTES_MAX,
        }
    }

    /// Those that the process sets itself.
    pub(crate) fn bounds(self) -> CompileBounds {
        CompileBounds {
            cpu_s: self.cpu_s,
            memory_bytes: self.memory_bytes,
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The module took all the processor time that there is for one.
    Cpu { cpu_s: u64 },
    /// It took all the memory that there is for one.
    Memory { bytes: u64 },
    /// The compiler broke on it, in this way.
    Broke { how: String },
    /// This machine did not do it, and not for the module's sake.
    Machine(String),
}

/// Starts a process, asks it, and ends it. Dropping the future ends it, too.
pub(crate) async fn ask(
    launcher: &Launcher,
    request: &Request,
    files: Vec<Handed>,
    limits: CompileLimits,
) -> Result<Reply, Stopped> {
    let machine = |error: &dyn std::fmt::Display| Stopped::Machine(error.to_string());
    let _counted = launcher.compiles();
    let started = launcher.start(Role::Compile).await;
    let mut process = started.map_err(|error| machine(&error))?;
    let answer = timeout(Duration::from_millis(limits.wall_ms), async {
        let sent = send_with_files(&mut process.socket, request, files).await;
        sent.map_err(io::Error::other)?;
        receive_async::<Reply>(&mut process.socket).await
    });
    let answer = answer.await;
    let broken = matches!(answer, Ok(Err(_)));
    let ended = process.end(broken).await;
    let memory = || match less_than(limits.memory_bytes) {
        None => Stopped::Memory {
            bytes: limits.memory_bytes,
        },
        Some(why) => Stopped::Machine(format!("the compiler got no memory: {why}")),
    };
    match answer {
        Ok(Ok(Reply::NoMemory)) => Err(memory()),
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(_)) if is_signal(ended.status, nix::libc::SIGXCPU) => Err(Stopped::Cpu {
            cpu_s: limits.cpu_s,
        }),
        Ok(Err(_)) if ended.got_no_memory().is_some() => Err(memory()),
        Ok(Err(_)) if let Some(how) = broke(ended.status, &ended.stderr) => {
            Err(Stopped::Broke { how })
        }
        Ok(Err(error)) => Err(Stopped::Machine(ended.describe(&error))),
        // The module has not had its processor time: this machine is slow, or busy.
        Err(_) => Err(Stopped::Machine(format!(
            "this machine had not given it {} s of processor time after {} ms",
            limits.cpu_s, limits.wall_ms
        ))),
    }
}

/// Why a process may get less than `bytes` of memory on this machine, if it may: then that it got none is not the module's fault.
fn less_than(bytes: u64) -> Option<String> {
    let limits = [
        // A compiler reserves address space that it never uses, so that any bound of it may be the one that was met.
        ("RLIMIT_AS", Resource::RLIMIT_AS, RLIM_INFINITY),
        ("RLIMIT_DATA", Resource::RLIMIT_DATA, bytes),
    ];
    for (name, resource, needed) in limits {
        if let Ok((soft, _)) = getrlimit(resource)
            && soft < needed
        {
            return Some(format!("{name} of this process is {soft}"));
        }
    }
    let strict = std::fs::read_to_string(OVERCOMMIT).is_ok_and(|mode| mode.trim() == NEVER);
    strict.then(|| format!("{OVERCOMMIT} is {NEVER}"))
}

/// How a compiler ended that did something wrong: it aborted, ran out of its stack, or touched what is not there. Nobody sends these signals
/// from outside: whoever ends a process (a person, the system where the machine's memory runs out) kills it, and the system call that it may
/// not make, and the page that a full disk has not, have signals of their own, which the module need not be the reason of.
fn broke(status: Option<ExitStatus>, stderr: &str) -> Option<String> {
    let signal = Signal::try_from(status?.signal()?).ok()?;
    let how = match signal {
        Signal::SIGABRT if stderr.contains(STACK_OVERFLOWED) => "it ran out of its stack",
        Signal::SIGABRT => "it aborted",
        Signal::SIGSEGV => "it touched memory that it does not have",
        Signal::SIGILL | Signal::SIGTRAP => "it came to an instruction that is none",
        Signal::SIGFPE => "it divided by zero",
        _ => return None,
    };
    Some(format!("{how} ({})", signal.as_str()))
}

fn is_signal(status: Option<ExitStatus>, signal: i32) -> bool {
    status.and_then(|status| status.signal()) == Some(signal)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// Real ends of real processes: a shell that ends itself so.
    fn ended(signal: &str) -> Option<ExitStatus> {
        let kill = format!("ulimit -c 0; kill -{signal} $$");
        let status = std::process::Command::new("sh")
            .args(["-c", &kill])
            .status();
        status.ok()
    }

    #[test]
    fn a_compiler_that_breaks_is_told_from_one_that_is_ended() {
        let said = "thread 'guest' has overflowed its stack";
        let rows = [
            ("ABRT", "", Some("it aborted (SIGABRT)")),
            ("ABRT", said, Some("it ran out of its stack (SIGABRT)")),
            (
                "SEGV",
                "",
                Some("it touched memory that it does not have (SIGSEGV)"),
            ),
            (
                "ILL",
                "",
                Some("it came to an instruction that is none (SIGILL)"),
            ),
            // Where memory runs out, or a person ends it; a call that it may not make; a disk that is full.
            ("KILL", "", None),
            ("TERM", "", None),
            ("SYS", "", None),
            ("BUS", "", None),
        ];
        for (signal, said, expected) in rows {
            let status = ended(signal);
            assert!(status.is_some_and(|s| s.signal().is_some()), "{signal}");
            assert_eq!(broke(status, said).as_deref(), expected, "{signal}");
        }
        assert_eq!(broke(Some(ExitStatus::from_raw(0x100)), ""), None);
        assert_eq!(broke(None, ""), None);
    }
}
