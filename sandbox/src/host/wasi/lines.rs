//! Bytes of a standard stream, cut into lines of the log.

/// What a stream wrote since its last line's end.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    last: String,
}

impl Lines {
    /// Takes bytes and hands on each line that they complete. What a line has over `line_bytes_max` is dropped, here already, so
    /// that a line without end takes no memory.
    pub(super) fn take<E>(
        &mut self,
        bytes: &[u8],
        line_bytes_max: usize,
        mut hand_on: impl FnMut(String) -> Result<(), E>,
    ) -> Result<(), E> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            let room = line_bytes_max.saturating_sub(self.partial.len());
            self.partial.extend(&text[..text.len().min(room)]);
            if ended {
                hand_on(self.end())?;
            }
        }
        Ok(())
    }

    /// The bytes after the last line's end, if there are any.
    pub(super) fn rest(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.end())
    }

    /// The last line that was not empty.
    pub(super) fn last(&self) -> &str {
        &self.last
    }

    fn end(&mut self) -> String {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.partial))
            .trim_end_matches('\r')
            .to_owned();
        if !line.is_empty() {
            self.last.clone_from(&line);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    fn take(lines: &mut Lines, bytes: &[u8], line_bytes_max: usize) -> Vec<String> {
        let mut taken = Vec::new();
        let all = lines.take::<()>(bytes, line_bytes_max, |line| {
            taken.push(line);
            Ok(())
        });
        assert_eq!(all, Ok(()));
        taken
    }

    #[test]
    fn lines_are_cut_however_the_bytes_come() {
        let mut lines = Lines::default();
        assert!(take(&mut lines, b"on", 100).is_empty());
        assert_eq!(
            take(&mut lines, b"e\r\n\ntwo\nthr", 100),
            ["one", "", "two"]
        );
        assert_eq!(lines.last(), "two");
        assert_eq!(lines.rest().as_deref(), Some("thr"));
        assert_eq!(lines.rest(), None);
    }

    #[test]
    fn a_line_without_end_takes_no_more_than_its_limit() {
        let mut lines = Lines::default();
        for _ in 0..1_000 {
            assert!(take(&mut lines, &[b'x'; 1_000], 50).is_empty());
        }
        let expected = ["x".repeat(50), "z".to_owned()];
        assert_eq!(take(&mut lines, b"y\nz\n", 50), expected);
    }
}
