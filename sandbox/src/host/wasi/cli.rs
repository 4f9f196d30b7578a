//! `wasi:cli`: arguments, environment, standard streams, exit.

use serde::Deserialize;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};

use super::streams::{InputStream, OutputStream};
use crate::host::{Answer, Host, Stop, charge, price, push};

/// The interface that a program exports, without its version.
pub(crate) const RUN: &str = "wasi:cli/run";
/// The first argument: a program's own name.
const PROGRAM_NAME: &str = "task";
/// The name of the input that is standard input.
const STDIN: &str = "stdin";

/// A terminal; there is never one.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Terminal;

/// A program ended itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the program exited with code {0}")]
pub(crate) struct Exit(pub u8);

/// The part of `params` that a program sees; the rest is for people and checks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Given {
    args: Vec<String>,
    env: std::collections::BTreeMap<String, String>,
}

type Store<'a> = StoreContextMut<'a, Host>;

/// Registers the interfaces.
pub(super) fn add(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut i = linker.instance("wasi:cli/environment@0.2.12")?;
    i.func_wrap("get-environment", |mut s: Store<'_>, (): ()| {
        let env: Vec<(String, String)> = given(&mut s)?.env.into_iter().collect();
        Ok((env,))
    })?;
    i.func_wrap("get-arguments", |mut s: Store<'_>, (): ()| {
        let mut args = given(&mut s)?.args;
        args.insert(0, PROGRAM_NAME.to_owned());
        Ok((args,))
    })?;
    i.func_wrap(
        "initial-cwd",
        |mut s: Store<'_>, (): ()| -> Answer<Option<String>> {
            charge(&mut s, price::CALL)?;
            Ok((Some("/".to_owned()),))
        },
    )?;
    let mut i = linker.instance("wasi:cli/exit@0.2.12")?;
    i.func_wrap(
        "exit",
        |mut s: Store<'_>, (status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
            charge(&mut s, price::CALL)?;
            Err(Exit(u8::from(status.is_err())).into())
        },
    )?;
    i.func_wrap(
        "exit-with-code",
        |mut s: Store<'_>, (code,): (u8,)| -> wasmtime::Result<()> {
            charge(&mut s, price::CALL)?;
            Err(Exit(code).into())
        },
    )?;
    streams(linker)?;
    terminals(linker)
}

fn streams(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut i = linker.instance("wasi:cli/stdin@0.2.12")?;
    i.func_wrap("get-stdin", |mut s: Store<'_>, (): ()| {
        charge(&mut s, price::OPEN)?;
        let host = s.data_mut();
        let stream = match host.files.open_input(STDIN) {
            Some(input) => InputStream::File { input, offset: 0 },
            None => InputStream::Empty,
        };
        Ok((push(host, stream)?,))
    })?;
    let mut i = linker.instance("wasi:cli/stdout@0.2.12")?;
    i.func_wrap("get-stdout", |mut s: Store<'_>, (): ()| {
        charge(&mut s, price::CALL)?;
        Ok((push(s.data_mut(), OutputStream::Stdout)?,))
    })?;
    let mut i = linker.instance("wasi:cli/stderr@0.2.12")?;
    i.func_wrap("get-stderr", |mut s: Store<'_>, (): ()| {
        charge(&mut s, price::CALL)?;
        Ok((push(s.data_mut(), OutputStream::Stderr)?,))
    })
}

fn terminals(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    for kind in ["terminal-input", "terminal-output"] {
        let mut i = linker.instance(&format!("wasi:cli/{kind}@0.2.12"))?;
        i.resource(kind, ResourceType::host::<Terminal>(), |_, _| Ok(()))?;
    }
    for stream in ["stdin", "stdout", "stderr"] {
        let mut i = linker.instance(&format!("wasi:cli/terminal-{stream}@0.2.12"))?;
        i.func_wrap(
            &format!("get-terminal-{stream}"),
            |mut s: Store<'_>, (): ()| -> Answer<Option<Resource<Terminal>>> {
                charge(&mut s, price::CALL)?;
                Ok((None,))
            },
        )?;
    }
    Ok(())
}

/// Reads `params`, which is at most a megabyte.
fn given(s: &mut Store<'_>) -> wasmtime::Result<Given> {
    let len = s.data().spec.params.len() as u64;
    charge(s, price::CALL + len * price::JSON_BYTE)?;
    read_given(&s.data().spec.params).map_err(|stop| stop.into())
}

fn read_given(params: &str) -> Result<Given, Stop> {
    let given = serde_json::from_str::<Option<Given>>(params).map_err(|error| {
        Stop::Params(format!(
            "params: a program takes `args` (a list of texts) and `env` (texts by name): {error}"
        ))
    })?;
    let given = given.unwrap_or_default();
    let texts = given
        .env
        .keys()
        .chain(given.env.values())
        .chain(&given.args);
    match texts.into_iter().find(|text| text.contains('\0')) {
        None => Ok(given),
        Some(_) => Err(Stop::Params(
            "params: a zero byte can't be in `args` or `env`".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Stop, read_given};

    #[test]
    fn arguments_and_environment_come_from_params() {
        let given = read_given(r#"{"args": ["-n", "3"], "env": {"A": "b"}, "more": [1]}"#).unwrap();
        assert_eq!(given.args, ["-n", "3"]);
        assert_eq!(given.env["A"], "b");
        for nothing in ["{}", "null"] {
            assert!(read_given(nothing).unwrap().args.is_empty(), "{nothing}");
        }
    }

    #[test]
    fn other_shapes_are_the_tasks_fault() {
        for params in [
            r#"{"args": "-n"}"#,
            r#"{"args": [1]}"#,
            r#"{"env": ["A"]}"#,
            "[1]",
            r#"{"args": ["a\u0000"]}"#,
        ] {
            let refused = read_given(params);
            assert!(matches!(refused, Err(Stop::Params(_))), "{params}");
        }
    }
}
