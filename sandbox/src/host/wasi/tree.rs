//! The files that a program sees, by path: `/inputs/NAME` and `/outputs/NAME`. Pure: paths in, nodes out.

use std::collections::BTreeSet;

/// The folder of inputs.
const INPUTS: &str = "inputs";
/// The folder of outputs.
const OUTPUTS: &str = "outputs";
/// Longest path, in bytes.
pub(super) const PATH_BYTES_MAX: usize = 4_096;

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A folder: its path from the root, without a slash at either end.
    Folder(String),
    /// The input of this name.
    Input(String),
    /// A place for an output of this name, whether there is one or not.
    Output(String),
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// It is too long.
    TooLong,
    /// It is absolute, or leaves the root.
    NotPermitted,
    /// Nothing is there.
    NoEntry,
    /// It goes on behind a file.
    NotFolder,
}

/// Follows `path` from the folder `base`.
pub(super) fn resolve<'a>(
    base: &str,
    path: &str,
    inputs: impl Iterator<Item = &'a str> + Clone,
) -> Result<Node, Lost> {
    if path.len() > PATH_BYTES_MAX {
        return Err(Lost::TooLong);
    }
    if path.starts_with('/') {
        return Err(Lost::NotPermitted);
    }
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or(Lost::NotPermitted)?;
            }
            part => parts.push(part),
        }
    }
    let whole = parts.join("/");
    match parts.split_first() {
        None => Ok(Node::Folder(whole)),
        Some((&INPUTS, [])) | Some((&OUTPUTS, [])) => Ok(Node::Folder(whole)),
        Some((&INPUTS, names)) => input(&names.join("/"), inputs),
        Some((&OUTPUTS, [name])) => Ok(Node::Output((*name).to_owned())),
        Some(_) => Err(Lost::NoEntry),
    }
}

/// The input `name`, or a folder of inputs: names may hold slashes.
fn input<'a>(name: &str, mut inputs: impl Iterator<Item = &'a str> + Clone) -> Result<Node, Lost> {
    let below = |upper: &str, lower: &str| {
        lower
            .strip_prefix(upper)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    if inputs.clone().any(|input| input == name) {
        Ok(Node::Input(name.to_owned()))
    } else if inputs.clone().any(|input| below(name, input)) {
        Ok(Node::Folder(format!("{INPUTS}/{name}")))
    } else if inputs.any(|input| below(input, name)) {
        Err(Lost::NotFolder)
    } else {
        Err(Lost::NoEntry)
    }
}

/// What is in a folder, by name; `true` for folders.
pub(super) fn entries<'a>(
    folder: &str,
    inputs: impl Iterator<Item = &'a str>,
    outputs: impl Iterator<Item = &'a str>,
) -> BTreeSet<(String, bool)> {
    if folder.is_empty() {
        return [INPUTS, OUTPUTS].map(|name| (name.to_owned(), true)).into();
    }
    if folder == OUTPUTS {
        return outputs.map(|name| (name.to_owned(), false)).collect();
    }
    let prefix = match folder.strip_prefix(INPUTS) {
        Some("") => String::new(),
        Some(rest) => format!("{}/", rest.trim_start_matches('/')),
        None => return BTreeSet::new(),
    };
    let below = inputs.filter_map(|name| name.strip_prefix(&prefix));
    below
        .map(|name| match name.split_once('/') {
            Some((folder, _)) => (folder.to_owned(), true),
            None => (name.to_owned(), false),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Lost, Node, entries, resolve};

    const NAMES: [&str; 3] = ["a/x", "a/y", "data.csv"];

    #[test]
    fn paths_lead_to_inputs_outputs_and_folders_and_nowhere_else() {
        let folder = |path: &str| Ok(Node::Folder(path.into()));
        for (base, path, expected) in [
            ("", "", folder("")),
            ("", ".", folder("")),
            ("", "inputs", folder("inputs")),
            ("inputs", "..", folder("")),
            ("inputs", "./data.csv", Ok(Node::Input("data.csv".into()))),
            ("", "inputs//a/x", Ok(Node::Input("a/x".into()))),
            ("inputs/a", "y", Ok(Node::Input("a/y".into()))),
            (
                "inputs/a",
                "../data.csv",
                Ok(Node::Input("data.csv".into())),
            ),
            ("", "inputs/a", folder("inputs/a")),
            ("", "outputs", folder("outputs")),
            ("", "outputs/new", Ok(Node::Output("new".into()))),
            ("", "outputs/a/b", Err(Lost::NoEntry)),
            ("", "inputs/b", Err(Lost::NoEntry)),
            ("", "inputs/dat", Err(Lost::NoEntry)),
            ("", "inputs/data.csv/x", Err(Lost::NotFolder)),
            ("", "etc/passwd", Err(Lost::NoEntry)),
            ("", "/etc/passwd", Err(Lost::NotPermitted)),
            ("", "../etc", Err(Lost::NotPermitted)),
            ("inputs", "../../..", Err(Lost::NotPermitted)),
        ] {
            let found = resolve(base, path, NAMES.into_iter());
            assert_eq!(found, expected, "`{path}` from `{base}`");
        }
        let long = "x".repeat(super::PATH_BYTES_MAX + 1);
        assert_eq!(resolve("", &long, NAMES.into_iter()), Err(Lost::TooLong));
    }

    #[test]
    fn folders_list_what_is_in_them() {
        let list = |folder| {
            let entries = entries(folder, NAMES.into_iter(), ["out"].into_iter());
            entries.into_iter().collect::<Vec<_>>()
        };
        let pairs = |pairs: &[(&str, bool)]| -> Vec<(String, bool)> {
            pairs.iter().map(|(n, f)| ((*n).to_owned(), *f)).collect()
        };
        assert_eq!(list(""), pairs(&[("inputs", true), ("outputs", true)]));
        assert_eq!(list("inputs"), pairs(&[("a", true), ("data.csv", false)]));
        assert_eq!(list("inputs/a"), pairs(&[("x", false), ("y", false)]));
        assert_eq!(list("outputs"), pairs(&[("out", false)]));
    }
}
