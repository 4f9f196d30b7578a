//! What a confined process can't do, tried by one.
#![allow(clippy::unwrap_used)]

use std::ffi::CString;
use std::io;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use aevir_sandbox::confine::confine;
use aevir_sandbox::{Applied, Role};
use nix::libc;

/// Set for the process that tries: role, what, folder.
const ATTEMPT_VAR: &str = "AEVIR_TEST_ATTEMPT";
/// How the process says how it went.
const ALLOWED: i32 = 20;
const REFUSED: i32 = 21;
const NOT_CONFINED: i32 = 22;

/// What an attempt must lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Allowed,
    /// The call fails.
    Refused,
    /// The process is killed for the call.
    Killed,
}

fn fate(status: ExitStatus) -> Result<Fate, String> {
    match (status.signal(), status.code()) {
        (Some(libc::SIGSYS), _) => Ok(Fate::Killed),
        (_, Some(ALLOWED)) => Ok(Fate::Allowed),
        (_, Some(REFUSED)) => Ok(Fate::Refused),
        (_, Some(NOT_CONFINED)) => {
            Err("this kernel can't confine fully; see `aevir doctor`".into())
        }
        _ => Err(format!("{status}")),
    }
}

/// Tries one thing, confined. Raw calls: libraries would go other ways around.
#[test]
#[ignore = "started by the other tests"]
fn attempt() {
    let text = std::env::var(ATTEMPT_VAR).unwrap();
    let [role, what, dir] = text.splitn(3, ' ').collect::<Vec<_>>()[..] else {
        panic!("{text}");
    };
    let confinement = confine(Role::from_name(role).unwrap(), Path::new(dir), false);
    if confinement.seccomp != Applied::Full || confinement.landlock != Applied::Full {
        eprintln!("{confinement:?}");
        exit(NOT_CONFINED);
    }
    let result = attempt_to(what, Path::new(dir));
    exit(match result {
        Ok(()) => ALLOWED,
        Err(_) => REFUSED,
    });
}

fn exit(code: i32) -> ! {
    // SAFETY: ends the process, without the exit handlers that a confined process need not survive.
    unsafe { libc::_exit(code) }
}

fn check(result: i64) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn attempt_to(what: &str, dir: &Path) -> io::Result<()> {
    let open = |path: &Path, flags: i32| {
        let path = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        // SAFETY: a path that ends in zero, and flags.
        check(i64::from(unsafe {
            libc::open(path.as_ptr(), flags, 0o600)
        }))
    };
    let create = libc::O_WRONLY | libc::O_CREAT;
    let path = |path: &'static str| CString::new(path).unwrap();
    // SAFETY: each call gets valid pointers or none; what they do to this process is what is tested.
    unsafe {
        match what {
            "read-passwd" => open(Path::new("/etc/passwd"), libc::O_RDONLY),
            "read-environ" => open(Path::new("/proc/1/environ"), libc::O_RDONLY),
            "read-code" => open(&dir.join("code/1.cwasm"), libc::O_RDONLY),
            "write-code" => open(&dir.join("code/1.cwasm"), libc::O_WRONLY),
            "write-output" => open(&dir.join("outputs/x"), create),
            "write-beside" => open(&dir.join("x"), create),
            "read-sibling" => open(&dir.join("../sibling"), libc::O_RDONLY),
            "thread" => {
                std::thread::spawn(|| ()).join().unwrap();
                Ok(())
            }
            "socket-inet" => check(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0).into()),
            "socket-inet6" => check(libc::socket(libc::AF_INET6, libc::SOCK_DGRAM, 0).into()),
            "socket-netlink" => check(libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, 0).into()),
            "connect-unix" => {
                std::os::unix::net::UnixStream::connect(dir.join("listener")).map(drop)
            }
            "fork" => match libc::fork() {
                0 => exit(0),
                child => check(child.into()),
            },
            "vfork-by-clone" => check(libc::syscall(
                libc::SYS_clone,
                libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
                0,
                0,
                0,
                0,
            )),
            "exec" => {
                let program = path("/bin/true");
                let args = [program.as_ptr(), std::ptr::null()];
                check(libc::execv(program.as_ptr(), args.as_ptr()).into())
            }
            "ptrace" => check(libc::ptrace(libc::PTRACE_ATTACH, libc::getppid(), 0, 0)),
            "signal-parent" => check(libc::kill(libc::getppid(), 0).into()),
            "read-parent" => check(libc::syscall(
                libc::SYS_process_vm_readv,
                libc::getppid(),
                0,
                0,
                0,
                0,
                0,
            )),
            "unshare" => check(libc::unshare(libc::CLONE_NEWUSER).into()),
            "mount" => check(
                libc::mount(
                    std::ptr::null(),
                    path("/").as_ptr(),
                    std::ptr::null(),
                    libc::MS_REMOUNT,
                    std::ptr::null(),
                )
                .into(),
            ),
            "bpf" => check(libc::syscall(libc::SYS_bpf, 0, 0, 0)),
            "io-uring" => check(libc::syscall(libc::SYS_io_uring_setup, 1, 0)),
            "userfaultfd" => check(libc::syscall(libc::SYS_userfaultfd, 0)),
            "symlink" => {
                let to = CString::new(dir.join("outputs/link").as_os_str().as_encoded_bytes());
                check(libc::symlink(path("/etc/passwd").as_ptr(), to.unwrap().as_ptr()).into())
            }
            "raise-limit" => {
                let all = libc::rlimit {
                    rlim_cur: libc::RLIM_INFINITY,
                    rlim_max: libc::RLIM_INFINITY,
                };
                check(
                    libc::prlimit(
                        libc::getppid(),
                        libc::RLIMIT_FSIZE,
                        &all,
                        std::ptr::null_mut(),
                    )
                    .into(),
                )
            }
            other => panic!("no attempt `{other}`"),
        }
    }
}

#[test]
fn a_confined_process_can_do_its_work_and_nothing_else() {
    use Fate::{Allowed, Killed, Refused};
    // What, and what becomes of it: CPU, compiler, GPU.
    let rows = [
        ("read-passwd", Refused, Refused, Refused),
        ("read-environ", Refused, Refused, Refused),
        ("read-code", Allowed, Refused, Allowed),
        ("write-code", Refused, Refused, Refused),
        ("write-output", Allowed, Refused, Allowed),
        ("write-beside", Refused, Refused, Refused),
        ("read-sibling", Refused, Refused, Refused),
        ("thread", Allowed, Allowed, Allowed),
        ("socket-inet", Killed, Killed, Killed),
        ("socket-inet6", Killed, Killed, Killed),
        ("socket-netlink", Killed, Killed, Killed),
        ("fork", Killed, Killed, Killed),
        ("vfork-by-clone", Killed, Killed, Killed),
        ("exec", Killed, Killed, Killed),
        ("ptrace", Killed, Killed, Killed),
        ("signal-parent", Killed, Killed, Killed),
        ("read-parent", Killed, Killed, Killed),
        ("unshare", Killed, Killed, Killed),
        ("mount", Killed, Killed, Killed),
        ("bpf", Killed, Killed, Killed),
        ("io-uring", Killed, Killed, Killed),
        ("userfaultfd", Killed, Killed, Killed),
        ("connect-unix", Killed, Killed, Refused),
        ("symlink", Killed, Killed, Refused),
        ("raise-limit", Killed, Killed, Killed),
    ];
    for (what, cpu, compile, gpu) in rows {
        for (role, expected) in [(Role::Cpu, cpu), (Role::Compile, compile), (Role::Gpu, gpu)] {
            assert_eq!(run(role, what), Ok(expected), "{what} as {}", role.name());
        }
    }
}

/// Tries in a process with a folder of its own, as an executor has.
fn run(role: Role, what: &str) -> Result<Fate, String> {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("own");
    for folder in ["code", "outputs", "checkpoints"] {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
    }
    std::fs::write(dir.join("code/1.cwasm"), "code").unwrap();
    std::fs::write(parent.path().join("sibling"), "another's").unwrap();
    let _listener = UnixListener::bind(dir.join("listener")).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["attempt", "--exact", "--ignored", "--nocapture"])
        .env(
            ATTEMPT_VAR,
            format!("{} {what} {}", role.name(), dir.display()),
        )
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    fate(status)
}
