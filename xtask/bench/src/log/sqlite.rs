//! SQLite called directly: open, prepare, bind, step. The peer that the log's SQLite appends are measured beside has
//! nothing between itself and the library.

use std::{
    ffi::{CStr, CString, c_int},
    marker::PhantomData,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    ptr,
};

use anyhow::{Context, Result, bail};
use libsqlite3_sys as ffi;

/// An open database.
pub(crate) struct Database(*mut ffi::sqlite3);

/// A prepared statement of a database.
pub(crate) struct Statement<'a> {
    raw: *mut ffi::sqlite3_stmt,
    database: PhantomData<&'a Database>,
}

/// What a parameter is bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Integer(i64),
    Blob(&'a [u8]),
}

impl Database {
    /// Opens a file that exists.
    pub(crate) fn open(file: &Path) -> Result<Self> {
        let name = CString::new(file.as_os_str().as_bytes())?;
        let mut raw = ptr::null_mut();
        // SAFETY: the name ends with a zero byte, and `raw` is where the handle goes; it is closed on drop.
        let code = unsafe {
            ffi::sqlite3_open_v2(
                name.as_ptr(),
                &mut raw,
                ffi::SQLITE_OPEN_READWRITE,
                ptr::null(),
            )
        };
        let database = Self(raw);
        expect(code, ffi::SQLITE_OK)
            .with_context(|| format!("{} can't be opened", file.display()))?;
        Ok(database)
    }

    /// Runs statements whose rows nobody wants.
    pub(crate) fn execute(&self, sql: &CStr) -> Result<()> {
        // SAFETY: the handle is open, the text ends with a zero byte, and there is no callback.
        let code = unsafe {
            ffi::sqlite3_exec(self.0, sql.as_ptr(), None, ptr::null_mut(), ptr::null_mut())
        };
        expect(code, ffi::SQLITE_OK).with_context(|| sql.to_string_lossy().into_owned())
    }

    /// Prepares one statement.
    pub(crate) fn prepare(&self, sql: &CStr) -> Result<Statement<'_>> {
        let mut raw = ptr::null_mut();
        // SAFETY: the handle is open and the text ends with a zero byte, which length -1 says.
        let code =
            unsafe { ffi::sqlite3_prepare_v2(self.0, sql.as_ptr(), -1, &mut raw, ptr::null_mut()) };
        expect(code, ffi::SQLITE_OK).with_context(|| sql.to_string_lossy().into_owned())?;
        Ok(Statement {
            raw,
            database: PhantomData,
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: the handle came from open, also where that failed, and statements do not outlive it.
        unsafe { ffi::sqlite3_close(self.0) };
    }
}

impl Statement<'_> {
    /// Runs it once with these parameters.
    pub(crate) fn run(&mut self, values: &[Value<'_>]) -> Result<()> {
        for (number, value) in (1..).zip(values) {
            // SAFETY: the statement is prepared; blobs outlive this call, at whose end the statement is reset.
            let code = unsafe {
                match *value {
                    Value::Integer(integer) => ffi::sqlite3_bind_int64(self.raw, number, integer),
                    Value::Blob(bytes) => ffi::sqlite3_bind_blob(
                        self.raw,
                        number,
                        bytes.as_ptr().cast(),
                        c_int::try_from(bytes.len())?,
                        ffi::SQLITE_STATIC(),
                    ),
                }
            };
            expect(code, ffi::SQLITE_OK).context("a parameter")?;
        }
        // SAFETY: the statement is prepared and all its parameters are bound.
        let (stepped, reset) = unsafe {
            let stepped = ffi::sqlite3_step(self.raw);
            (stepped, ffi::sqlite3_reset(self.raw))
        };
        expect(stepped, ffi::SQLITE_DONE).and(expect(reset, ffi::SQLITE_OK))
    }
}

impl Drop for Statement<'_> {
    fn drop(&mut self) {
        // SAFETY: prepared once, finalised once.
        unsafe { ffi::sqlite3_finalize(self.raw) };
    }
}

fn expect(code: c_int, expected: c_int) -> Result<()> {
    if code == expected {
        return Ok(());
    }
    bail!("SQLite answers {code}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_inserted_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.db");
        std::fs::write(&file, "").unwrap();
        let database = Database::open(&file).unwrap();
        database
            .execute(c"CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB NOT NULL)")
            .unwrap();
        let mut insert = database.prepare(c"INSERT INTO t VALUES (?, ?)").unwrap();
        insert
            .run(&[Value::Integer(1), Value::Blob(b"abc")])
            .unwrap();
        assert!(
            insert
                .run(&[Value::Integer(1), Value::Blob(b"abc")])
                .is_err(),
            "the key is taken"
        );
        // Deletes the row if it is as it should be, so that the key is free again.
        database
            .execute(c"DELETE FROM t WHERE n = 1 AND b = x'616263'")
            .unwrap();
        insert
            .run(&[Value::Integer(1), Value::Blob(b"abc")])
            .unwrap();
        assert!(database.execute(c"nonsense").is_err());
    }
}
