//! Seccomp: the system calls that a role may make.
//!
//! Executors without a GPU and compilers have a list of what is allowed, and a call of anything else kills the process. A GPU
//! driver's calls can't be listed for every vendor, so an executor with a GPU has a list of what is forbidden, and one of what is
//! refused with `EPERM`: calls that a library might make in good faith. What libraries try first and can do without is answered `ENOSYS`.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use super::{Applied, Role};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What runtime, allocator, threads and plain files need.
const ALLOWED: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_mincore,
    libc::SYS_mkdirat,
    libc::SYS_mlock,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munlock,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setrlimit,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
];

/// The same by the names that only this architecture has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_BY_OLD_NAMES: &[i64] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_dup2,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_BY_OLD_NAMES: &[i64] = &[];

/// What even a GPU driver has no business with: other programs, other processes, the kernel's own switches.
const FORBIDDEN: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_listen,
    libc::SYS_migrate_pages,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// What a driver or a library below it may try in good faith and must not have: changing what a file is (its rights, owner, times and
/// attributes, which landlock does not see), watching others' files, memory and queues that are shared by a name, memory that can't be
/// taken back, others' threads, and when and where any process of the same user runs.
const REFUSED: &[i64] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_getxattr,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_ioprio_set,
    libc::SYS_kcmp,
    libc::SYS_lgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_lremovexattr,
    libc::SYS_lsetxattr,
    libc::SYS_mknodat,
    libc::SYS_mlockall,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_msgctl,
    libc::SYS_msgget,
    libc::SYS_msgrcv,
    libc::SYS_msgsnd,
    libc::SYS_name_to_handle_at,
    libc::SYS_removexattr,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_semctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_setpriority,
    libc::SYS_setxattr,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_shmget,
    libc::SYS_tkill,
    libc::SYS_utimensat,
    // By their numbers, which are the same everywhere, until the C library's bindings have their names: setxattrat, getxattrat, listxattrat,
    // removexattrat, file_getattr, file_setattr.
    463,
    464,
    465,
    466,
    468,
    469,
];

/// The same by the names that only this architecture has.
#[cfg(target_arch = "x86_64")]
const FORBIDDEN_BY_OLD_NAMES: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const FORBIDDEN_BY_OLD_NAMES: &[i64] = &[];

/// The same.
#[cfg(target_arch = "x86_64")]
const REFUSED_BY_OLD_NAMES: &[i64] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_futimesat,
    libc::SYS_inotify_init,
    libc::SYS_lchown,
    libc::SYS_mknod,
    libc::SYS_utime,
    libc::SYS_utimes,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_BY_OLD_NAMES: &[i64] = &[];

/// Numbers of system calls from here on are those of a second table that 64-bit x86 has for programs with short pointers; they would pass a
/// list of what is forbidden.
#[cfg(target_arch = "x86_64")]
const SECOND_TABLE: u32 = 0x4000_0000;

/// Flags of `clone` that make a thread of this process and nothing else.
const THREAD: u64 = (libc::CLONE_VM | libc::CLONE_THREAD) as u64;

/// Restricts the calling thread.
pub(super) fn restrict(role: Role) -> Applied {
    match try_restrict(role) {
        Ok(()) => Applied::Full,
        Err(error) => Applied::Not(error.to_string()),
    }
}

fn try_restrict(role: Role) -> Result<(), seccompiler::Error> {
    // The strictest answer of all filters counts.
    let evasive = filter(evasive(role)?, SeccompAction::Allow, errno(libc::ENOSYS))?;
    let main = match role {
        Role::Cpu | Role::Compile => {
            filter(allowed()?, SeccompAction::KillProcess, SeccompAction::Allow)?
        }
        Role::Gpu => filter(
            forbidden()?,
            SeccompAction::Allow,
            SeccompAction::KillProcess,
        )?,
    };
    seccompiler::apply_filter(&evasive)?;
    if role == Role::Gpu {
        let refused = filter(refused(), SeccompAction::Allow, errno(libc::EPERM))?;
        seccompiler::apply_filter(&refused)?;
        #[cfg(target_arch = "x86_64")]
        seccompiler::apply_filter(&no_second_table())?;
    }
    seccompiler::apply_filter(&main)
}

/// Kills the process for a call through the other table: `if number >= SECOND_TABLE { kill } else { allow }`.
#[cfg(target_arch = "x86_64")]
fn no_second_table() -> BpfProgram {
    let instruction = |code: u32, jf, k| sock_filter {
        code: code as u16, // all of them are two digits
        jt: 0,
        jf,
        k,
    };
    // The call's number is the first word of what a filter sees.
    vec![
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, SECOND_TABLE),
        instruction(
            libc::BPF_RET | libc::BPF_K,
            0,
            libc::SECCOMP_RET_KILL_PROCESS,
        ),
        instruction(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

fn errno(code: i32) -> SeccompAction {
    SeccompAction::Errno(code.unsigned_abs())
}

fn filter(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, seccompiler::Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, otherwise, matched, arch)?.try_into()?)
}

/// Calls that libraries try first and replace by others.
fn evasive(role: Role) -> Result<Rules, seccompiler::Error> {
    // `clone3` has its flags in memory, where no filter sees them; the C library falls back to `clone`.
    let mut rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    if role == Role::Gpu {
        // Drivers ask their daemons and the display, and do without; landlock does not see sockets that have a path.
        let local = when(0, SeccompCmpOp::Eq, libc::AF_UNIX as u64)?;
        rules.insert(libc::SYS_socket, local);
    }
    Ok(rules)
}

fn refused() -> Rules {
    let calls = REFUSED.iter().chain(REFUSED_BY_OLD_NAMES);
    calls.map(|call| (*call, Vec::new())).collect()
}

fn allowed() -> Result<Rules, seccompiler::Error> {
    let own = u64::from(std::process::id());
    let mut rules: Rules = ALLOWED
        .iter()
        .chain(ALLOWED_BY_OLD_NAMES)
        .map(|call| (*call, Vec::new()))
        .collect();
    // Answered by the other filter.
    rules.insert(libc::SYS_clone3, Vec::new());
    rules.insert(
        libc::SYS_clone,
        when(0, SeccompCmpOp::MaskedEq(THREAD), THREAD)?,
    );
    // Signals to itself: how a panic aborts, and how it ends when its parent does.
    rules.insert(libc::SYS_tgkill, when(0, SeccompCmpOp::Eq, own)?);
    rules.insert(libc::SYS_kill, when(0, SeccompCmpOp::Eq, own)?);
    // Limits of itself; raising one is refused by the system.
    let mut limits = when(0, SeccompCmpOp::Eq, 0)?;
    limits.extend(when(0, SeccompCmpOp::Eq, own)?);
    rules.insert(libc::SYS_prlimit64, limits);
    // Names of threads and of mappings.
    let mut names = when(0, SeccompCmpOp::Eq, libc::PR_SET_NAME as u64)?;
    names.extend(when(0, SeccompCmpOp::Eq, libc::PR_SET_VMA as u64)?);
    rules.insert(libc::SYS_prctl, names);
    // Whether standard error is a terminal.
    let mut terminal = when(1, SeccompCmpOp::Eq, libc::TCGETS)?;
    terminal.extend(when(1, SeccompCmpOp::Eq, libc::TIOCGWINSZ)?);
    rules.insert(libc::SYS_ioctl, terminal);
    Ok(rules)
}

fn forbidden() -> Result<Rules, seccompiler::Error> {
    let own = u64::from(std::process::id());
    let mut rules: Rules = FORBIDDEN
        .iter()
        .chain(FORBIDDEN_BY_OLD_NAMES)
        .map(|call| (*call, Vec::new()))
        .collect();
    // Everything but threads.
    let mut processes = when(0, SeccompCmpOp::MaskedEq(libc::CLONE_VM as u64), 0)?;
    processes.extend(when(
        0,
        SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64),
        0,
    )?);
    rules.insert(libc::SYS_clone, processes);
    // Sockets of this machine are answered by the other filter.
    rules.insert(
        libc::SYS_socket,
        when(0, SeccompCmpOp::Ne, libc::AF_UNIX as u64)?,
    );
    rules.insert(libc::SYS_tgkill, when(0, SeccompCmpOp::Ne, own)?);
    rules.insert(libc::SYS_kill, when(0, SeccompCmpOp::Ne, own)?);
    // Limits of others; zero is the process itself.
    let others = [SeccompCmpOp::Ne, SeccompCmpOp::Ne]
        .into_iter()
        .zip([0, own]);
    let others = others.map(|(operator, value)| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, operator, value)
    });
    let others = SeccompRule::new(others.collect::<Result<_, _>>()?)?;
    rules.insert(libc::SYS_prlimit64, vec![others]);
    Ok(rules)
}

/// A rule on the lower half of one argument: all of them are `int`s or have their flags there.
fn when(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<Vec<SeccompRule>, seccompiler::Error> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
    Ok(vec![SeccompRule::new(vec![condition])?])
}
