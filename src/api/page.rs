//! Lists, a page at a time.
//!
//! Owns what a page looks like and what asks for the next. Keeps true: whoever asks page after page sees everything that
//! had begun when they began, once, the latest first; a cursor means nothing to its reader.

use super::Problem;
use axum::http::StatusCode;
use quell_engine::report;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Lines of a page where nothing is asked for.
const USUAL: usize = 100;

/// A part of a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The lines, the latest first.
    pub(crate) items: Vec<T>,
    /// The `cursor` that asks for the next page; null: this was the last.
    #[schema(required, examples("1204"))]
    pub(crate) next: Option<String>,
}

impl<T> Page<T> {
    /// All of it.
    pub(super) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

impl<T> From<report::Page<T>> for Page<T> {
    fn from(page: report::Page<T>) -> Self {
        Self { items: page.lines, next: page.next.map(|number| number.to_string()) }
    }
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// So many lines at the most.
    #[serde(default)]
    #[param(minimum = 1, maximum = 500, default = 100, required = false)]
    pub(super) limit: Option<usize>,
    /// `next` of the page before; without it the first page is answered.
    #[serde(default)]
    #[param(required = false, example = "1204")]
    pub(super) cursor: Option<String>,
}

impl Which {
    /// Where the page before ended, and how long this one is.
    pub(super) fn read(&self) -> Result<(Option<i64>, usize), Problem> {
        let limit = self.limit.unwrap_or(USUAL);
        if limit == 0 || limit > report::LONGEST {
            let what = format!("`limit` is a number from 1 to {}", report::LONGEST);
            return Err(Problem::new(StatusCode::BAD_REQUEST, what).hint("`cursor` asks for the next page"));
        }
        Ok((cursor(self.cursor.as_deref())?, limit))
    }
}

/// A number that an earlier answer gave.
pub(super) fn cursor<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>, Problem> {
    let read = |text: &str| {
        text.parse().map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, format!("`{text}` is no cursor"))
                .hint("`next` of the page before is one; without it the first page is answered")
        })
    };
    text.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_bounds_and_a_cursor_is_one_that_was_given() {
        let which = |limit, cursor: Option<&str>| Which { limit, cursor: cursor.map(str::to_owned) }.read();
        assert_eq!(which(None, None), Ok((None, USUAL)));
        assert_eq!(which(Some(500), Some("7")), Ok((Some(7), 500)));
        assert!(which(Some(0), None).is_err());
        assert!(which(Some(501), None).is_err());
        assert!(which(None, Some("7x")).is_err());
    }
}
