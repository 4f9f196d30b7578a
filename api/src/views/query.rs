//! Queries on views: conditions that are there or not, and cells that become fields.

use aevir_events::projection::Value;

use crate::error::{ApiError, ApiResult, Code};

/// A `SELECT` under construction. Its text is made of literals alone; data goes into parameters.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) sql: String,
    pub(crate) params: Vec<Value>,
    conditions: usize,
}

impl Query {
    /// Up to and without `WHERE`.
    pub(crate) fn new(select: &'static str) -> Self {
        Self {
            sql: select.to_owned(),
            params: Vec::new(),
            conditions: 0,
        }
    }

    /// A condition without data.
    pub(crate) fn only(&mut self, condition: &'static str) -> &mut Self {
        self.and(condition)
    }

    /// A condition in which each `?` is a value.
    pub(crate) fn when<const N: usize>(
        &mut self,
        condition: &'static str,
        values: [Value; N],
    ) -> &mut Self {
        let mut parts = condition.split('?');
        self.and(parts.next().unwrap_or_default());
        for (value, part) in values.into_iter().zip(parts) {
            self.params.push(value);
            self.sql.push_str(&format!("${}{part}", self.params.len()));
        }
        self
    }

    /// The condition, where there is a value for it.
    pub(crate) fn when_some(
        &mut self,
        condition: &'static str,
        value: Option<impl Into<Value>>,
    ) -> &mut Self {
        match value {
            Some(value) => self.when(condition, [value.into()]),
            None => self,
        }
    }

    /// Order and limit: one row more than a page has, which shows that there is a next one.
    pub(crate) fn page(&mut self, order: &'static str, limit: usize) -> &mut Self {
        self.params.push(Value::Int(
            i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
        ));
        self.sql
            .push_str(&format!(" ORDER BY {order} LIMIT ${}", self.params.len()));
        self
    }

    fn and(&mut self, condition: &str) -> &mut Self {
        self.sql.push_str(if self.conditions == 0 {
            " WHERE "
        } else {
            " AND "
        });
        self.sql.push_str(condition);
        self.conditions += 1;
        self
    }
}

/// The cells of a row, taken from the left.
#[derive(Debug)]
pub(crate) struct Cells(std::vec::IntoIter<Value>);

impl Cells {
    pub(crate) fn new(row: Vec<Value>) -> Self {
        Self(row.into_iter())
    }

    pub(crate) fn text(&mut self) -> ApiResult<String> {
        self.text_or_null()?.ok_or_else(misfit)
    }

    pub(crate) fn int(&mut self) -> ApiResult<i64> {
        self.int_or_null()?.ok_or_else(misfit)
    }

    pub(crate) fn text_or_null(&mut self) -> ApiResult<Option<String>> {
        match self.0.next() {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            Some(Value::Int(_)) | None => Err(misfit()),
        }
    }

    pub(crate) fn int_or_null(&mut self) -> ApiResult<Option<i64>> {
        match self.0.next() {
            Some(Value::Int(n)) => Ok(Some(n)),
            Some(Value::Null) => Ok(None),
            Some(Value::Text(_)) | None => Err(misfit()),
        }
    }

    /// A number that was 32 bits wide when it was written.
    pub(crate) fn count(&mut self) -> ApiResult<u32> {
        u32::try_from(self.int()?).map_err(|_| misfit())
    }

    /// A number of 64 bits that is not below zero.
    pub(crate) fn size(&mut self) -> ApiResult<u64> {
        u64::try_from(self.int()?).map_err(|_| misfit())
    }

    /// A structure that was written as JSON text.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&mut self) -> ApiResult<T> {
        self.json_or_null()?.ok_or_else(misfit)
    }

    pub(crate) fn json_or_null<T: serde::de::DeserializeOwned>(&mut self) -> ApiResult<Option<T>> {
        let text = self.text_or_null()?;
        let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
        parsed.map_err(|e| ApiError::internal("a view's JSON can't be read", &e))
    }
}

fn misfit() -> ApiError {
    tracing::error!("a view's row is not what its query asks for");
    ApiError::new(Code::Internal, "the server failed at reading a view")
}
