//! The description itself, held against OpenAPI by somebody else's reader where it is installed, and by what makers of
//! clients need everywhere.

use super::document::Document;
use crate::cli::{quell, write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const VALIDATE: &str =
    "import json, sys\nfrom openapi_spec_validator import validate\nvalidate(json.load(open(sys.argv[1])))\n";

/// Python, with what `scripts/setup test` keeps for it.
fn python(args: &[&str]) -> Option<std::process::Output> {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    let kept = cache.join("quell/tools/openapi");
    Command::new("python3").args(args).env("PYTHONPATH", kept).stdin(Stdio::null()).output().ok()
}

#[test]
fn an_independent_validator_takes_it() {
    let known = python(&["-c", "import openapi_spec_validator"]).is_some_and(|output| output.status.success());
    if !known {
        eprintln!("NOT TESTED: the API's description against openapi-spec-validator: it is not installed");
        return;
    }
    let keep = tempfile::tempdir().unwrap();
    let file = write(keep.path(), "openapi.json", &quell(&["api", "schema"]).ends(0).out);
    let checked = python(&["-c", VALIDATE, file.to_str().unwrap()]).unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    // It would say so: a parameter of a path that no path has.
    let mut broken = Document::printed().whole;
    broken["paths"]["/v1/runs/{id}"]["get"]["parameters"] = serde_json::json!([]);
    let file = write(keep.path(), "broken.json", &broken.to_string());
    assert!(!python(&["-c", VALIDATE, file.to_str().unwrap()]).unwrap().status.success());
}
