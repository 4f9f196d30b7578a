//! `wasi:sockets`: there is no network. The interfaces are there all the same, because Python's and Rust's standard libraries
//! always import them; whatever would make a socket or look up a name answers `access-denied`.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType, Val};

use super::INTERFACES;
use crate::host::{Host, Stop, charge, price, push};

/// The network that a program asks for; nothing can be done with it.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Network;

/// A socket, or what comes out of one. There is never any.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Socket;

/// Resources of these interfaces by name; the network is one that can be had.
const NETWORK: &str = "network";
const SOCKETS: [&str; 5] = [
    "tcp-socket",
    "udp-socket",
    "incoming-datagram-stream",
    "outgoing-datagram-stream",
    "resolve-address-stream",
];
/// Functions that make something out of nothing: they answer the error.
const DENIED: [&str; 3] = [
    "create-tcp-socket",
    "create-udp-socket",
    "resolve-addresses",
];

/// Registers the interfaces.
pub(super) fn add(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let sockets = INTERFACES
        .iter()
        .filter(|interface| interface.name.starts_with("wasi:sockets/"));
    for interface in sockets {
        let mut i = linker.instance(interface.name)?;
        // Where a resource is made, and not where it is only named.
        let makes = |name: &str| {
            let method = format!("[method]{name}.");
            interface.functions.iter().any(|f| f.starts_with(&method))
        };
        for name in interface.types {
            if *name == NETWORK && interface.name.starts_with("wasi:sockets/network@") {
                i.resource(name, ResourceType::host::<Network>(), |mut s, rep| {
                    s.data_mut()
                        .table
                        .delete(Resource::<Network>::new_own(rep))?;
                    Ok(())
                })?;
            } else if SOCKETS.contains(name) && makes(name) {
                i.resource(name, ResourceType::host::<Socket>(), |_, _| Ok(()))?;
            }
        }
        for &name in interface.functions {
            match name {
                "instance-network" => {
                    i.func_wrap(name, |mut s: StoreContextMut<'_, Host>, (): ()| {
                        charge(&mut s, price::CALL)?;
                        Ok((push(s.data_mut(), Network)?,))
                    })?;
                }
                name if DENIED.contains(&name) => {
                    i.func_new(name, |mut s, _, _, results| {
                        charge(&mut s, price::CALL)?;
                        let denied = Val::Enum("access-denied".into());
                        results.fill(Val::Result(Err(Some(Box::new(denied)))));
                        Ok(())
                    })?;
                }
                // Methods of what does not exist.
                name => i.func_new(name, |mut s, _, _, _| {
                    charge(&mut s, price::CALL)?;
                    Err(Stop::Interface("there are no sockets".into()).into())
                })?,
            }
        }
    }
    Ok(())
}
