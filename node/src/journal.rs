//! Sealed results on disk, written before their commitment is sent: a node that restarts can still reveal, and
//! so is not taken for one that refuses to. A result's output files are kept beside it until then, for the platform
//! may ask for them again.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aevir_wire::{Commit, Report};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files;

/// A result together with its seal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sealed {
    pub report: Report,
    /// The inline result.
    pub result: Value,
    pub commit: Commit,
}

impl Sealed {
    /// The assignment whose result it is.
    pub fn assignment(&self) -> &str {
        &self.report.assignment
    }
}

/// Ids come from the server; only a plain word may become a path.
pub(crate) fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// A folder with a file for each sealed result.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
}

impl Journal {
    /// Opens the journal of a data folder.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("sealed");
        fs::create_dir_all(&folder)?;
        let journal = Self { folder };
        journal.sweep()?;
        Ok(journal)
    }

    /// Removes output files whose result was not kept, was removed just before a crash, or can't be read any more: nobody asks for them.
    fn sweep(&self) -> io::Result<()> {
        for name in self.leftovers()? {
            if let Err(error) = fs::remove_dir_all(self.folder.join(&name)) {
                tracing::warn!(name, %error, "what is left of a sealed result can't be removed");
            }
        }
        Ok(())
    }

    /// The folders of output files that belong to no result.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub(crate) fn leftovers(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if !path.is_dir() {
                continue;
            }
            let result = files::read_json::<Sealed>(&path.with_extension("json"));
            if !matches!(result, Ok(Some(_))) {
                let name = path.file_name().and_then(|name| name.to_str());
                names.extend(name.map(str::to_owned));
            }
        }
        Ok(names)
    }

    /// Keeps a sealed result with its output files, which are moved here from their folder.
    ///
    /// # Errors
    /// When it can't be written; what there is of it by then is the caller's to remove.
    pub(crate) fn keep(&self, sealed: &Sealed, outputs: Option<&Path>) -> io::Result<()> {
        let folder = self.outputs(sealed.assignment())?;
        if let Some(outputs) = outputs {
            fs::rename(outputs, &folder)?;
        }
        self.save(sealed)
    }

    /// Where the output files of a kept result are, each under its name.
    ///
    /// # Errors
    /// When the id is no plain word.
    pub(crate) fn outputs(&self, assignment: &str) -> io::Result<PathBuf> {
        Ok(self.path(assignment)?.with_extension(""))
    }

    /// Bytes that the output files of a kept result take. The result beside them is a few KiB.
    ///
    /// # Errors
    /// When they can't be counted.
    pub(crate) fn bytes(&self, assignment: &str) -> io::Result<u64> {
        files::bytes_in(&self.outputs(assignment)?)
    }

    /// Keeps a sealed result; it is on disk when this returns.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn save(&self, sealed: &Sealed) -> io::Result<()> {
        files::write_json(&self.path(sealed.assignment())?, sealed)
    }

    /// Forgets one that was revealed or is no longer wanted, and its output files.
    ///
    /// # Errors
    /// When it can't be removed.
    pub fn remove(&self, assignment: &str) -> io::Result<()> {
        let result = files::remove(&self.path(assignment)?);
        // The one takes its room whatever becomes of the other.
        match fs::remove_dir_all(self.outputs(assignment)?) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => result,
        }
    }

    /// A kept one.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn get(&self, assignment: &str) -> io::Result<Option<Sealed>> {
        files::read_json(&self.path(assignment)?)
    }

    /// All that are kept. Unreadable ones are left out, with a line in the log: they must not keep the node from
    /// starting.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn all(&self) -> io::Result<Vec<Sealed>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match files::read_json::<Sealed>(&path) {
                Ok(sealed) => all.extend(sealed),
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "a sealed result can't be read");
                }
            }
        }
        Ok(all)
    }

    fn path(&self, assignment: &str) -> io::Result<PathBuf> {
        if !is_plain(assignment) {
            return Err(io::Error::other("the assignment's id is no plain word"));
        }
        Ok(self.folder.join(format!("{assignment}.json")))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::report::tests::report;

    pub(crate) fn sealed() -> Sealed {
        let report = Report {
            salt: "22".repeat(32),
            ..report()
        };
        Sealed {
            report,
            result: json!({"a": 1}),
            commit: Commit {
                commitment: "00".repeat(32),
                signature: "11".repeat(64),
            },
        }
    }

    #[test]
    fn what_was_sealed_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        Journal::open(folder.path())
            .unwrap()
            .save(&sealed())
            .unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        assert_eq!(journal.all().unwrap(), [sealed()]);
        assert_eq!(journal.get(sealed().assignment()).unwrap(), Some(sealed()));
        journal.remove(sealed().assignment()).unwrap();
        journal.remove(sealed().assignment()).unwrap();
        assert_eq!(journal.all().unwrap(), []);
    }

    #[test]
    fn output_files_stay_as_long_as_their_result() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        fs::write(run.join("weights"), "1").unwrap();
        let (sealed, data) = (sealed(), folder.path());
        let kept = data.join("sealed").join(sealed.assignment());
        let journal = Journal::open(data).unwrap();
        journal.keep(&sealed, Some(&run)).unwrap();
        assert!(!run.exists());
        // An orphan, as a crash leaves it.
        fs::create_dir(data.join("sealed/OTHER")).unwrap();
        let journal = Journal::open(data).unwrap_or(journal);
        assert!(!data.join("sealed/OTHER").exists());
        assert_eq!(journal.all().unwrap(), std::slice::from_ref(&sealed));
        assert_eq!(journal.outputs(sealed.assignment()).unwrap(), kept);
        assert_eq!(journal.bytes(sealed.assignment()).unwrap(), 1);
        assert_eq!(journal.bytes("OTHER").unwrap(), 0);
        assert_eq!(fs::read(kept.join("weights")).unwrap(), b"1");
        journal.remove(sealed.assignment()).unwrap();
        assert!(!kept.exists());
    }

    #[test]
    fn a_damaged_file_does_not_stop_the_node() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        journal.save(&sealed()).unwrap();
        fs::write(folder.path().join("sealed/other.json"), "{").unwrap();
        assert_eq!(journal.all().unwrap(), [sealed()]);
        // Its files are of no use, and take room.
        fs::create_dir(folder.path().join("sealed/other")).unwrap();
        Journal::open(folder.path()).unwrap();
        assert!(!folder.path().join("sealed/other").exists());
    }

    #[test]
    fn an_id_is_never_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        for bad in ["", "../x", "a/b", "a.b"] {
            assert!(journal.remove(bad).is_err(), "{bad}");
        }
    }
}
