//! Types generated from `schemas/wasi`; the functions are registered by hand, as those of [`crate::host::bindings`] are.
#![allow(
    missing_debug_implementations,
    unreachable_pub,
    unused,
    clippy::all,
    reason = "generated"
)]

wasmtime::component::bindgen!({
    path: "../schemas/wasi",
    world: "aevir:programs/program",
    with: {
        "wasi:io/error.error": super::streams::Failure,
        "wasi:io/poll.pollable": super::clocks::Pollable,
        "wasi:io/streams.input-stream": super::streams::InputStream,
        "wasi:io/streams.output-stream": super::streams::OutputStream,
        "wasi:cli/terminal-input.terminal-input": super::cli::Terminal,
        "wasi:cli/terminal-output.terminal-output": super::cli::Terminal,
        "wasi:filesystem/types.descriptor": super::filesystem::Descriptor,
        "wasi:filesystem/types.directory-entry-stream": super::filesystem::Entries,
        "wasi:sockets/network.network": super::sockets::Network,
        "wasi:sockets/tcp.tcp-socket": super::sockets::Socket,
        "wasi:sockets/udp.udp-socket": super::sockets::Socket,
        "wasi:sockets/udp.incoming-datagram-stream": super::sockets::Socket,
        "wasi:sockets/udp.outgoing-datagram-stream": super::sockets::Socket,
        "wasi:sockets/ip-name-lookup.resolve-address-stream": super::sockets::Socket,
    },
});

pub(crate) use wasi::clocks::wall_clock::Datetime;
pub(crate) use wasi::filesystem::types as files;
pub(crate) use wasi::io::streams::StreamError;
