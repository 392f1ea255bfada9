//! `quell playbook new NAME`: a playbook with its rule, its test and a README to begin with, which checks clean as it stands.
//!
//! Invariants: writes nothing over what is there, takes no name that ships, and leaves no half of it behind.

use super::escape::escape;
use super::term::Ink;
use super::{Exit, Fail, Term};
use serde_json::json;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Names of files are not longer either.
const LONGEST: usize = 64;
/// Names the schema's file, also within the playbook's first line.
const SCHEMA: &str = "playbook.schema.json";

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell playbook new stop-sleeper\n  quell playbook new contain-web-shell --dir /etc/quell/playbooks"
)]
pub(crate) struct Args {
    /// Its name: lower-case letters, digits and `-`
    name: String,
    /// The folder in which its own is made
    #[arg(long, value_name = "D", default_value = "playbooks")]
    dir: PathBuf,
}

/// Writes the files.
pub(crate) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    fits(&args.name)?;
    let home = args.dir.join(&args.name);
    let cannot = |e: std::io::Error| {
        let fail = Fail::missing(format!("`{}` cannot be written: {e}", home.display()));
        fail.hint("say with --dir where you may write")
    };
    let files = files(&args.name, &fresh_id().map_err(cannot)?, jiff::Zoned::now().date());
    fs::create_dir_all(&args.dir).map_err(cannot)?;
    match fs::create_dir(&home) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let fail = Fail::usage(format!("there is something at `{}` already", home.display()));
            return Err(fail.hint("nothing was written; take another name, or another folder with --dir"));
        }
        made => made.map_err(cannot)?,
    }
    if let Err(e) = files.iter().try_for_each(|(name, text)| write(&home.join(name), text)) {
        // It is this call's own; what cannot be taken away either is told by the first error.
        drop(fs::remove_dir_all(&home));
        return Err(cannot(e));
    }
    let shown = |name: &str| home.join(name).display().to_string();
    if term.is_json() {
        let list: Vec<_> = files.iter().map(|(name, _)| json!({ "id": name, "path": shown(name) })).collect();
        term.document(&json!({ "id": args.name, "dir": home.display().to_string(), "files": list }));
    } else {
        for (name, _) in &files {
            term.line(format!("{}  {}", term.ink(Ink::Good, "wrote"), escape(&shown(name))));
        }
        term.note("");
        term.hint(&format!("`quell playbook check {}` after each change", home.display()));
    }
    Ok(Exit::Right)
}

/// Refuses what cannot be a name, or ships, with the nearest that can.
fn fits(name: &str) -> Result<(), Fail> {
    let may = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(may) || name.starts_with('-') || name.len() > LONGEST {
        let fail = Fail::usage(format!("`{name}` cannot be a playbook's name"));
        let rule = format!("lower-case letters, digits and `-`, at most {LONGEST} characters");
        return Err(fail.hint(match nearest(name) {
            Some(near) => format!("did you mean `{near}`? ({rule})"),
            None => rule,
        }));
    }
    let ships = |text: &str, key: &str| text.lines().any(|line| line == format!("{key}: {name}"));
    if quell_playbooks::playbooks().iter().any(|file| ships(file.text, "playbook"))
        || quell_playbooks::rules().iter().any(|file| ships(file.text, "name"))
    {
        let fail = Fail::usage(format!("`{name}` is the name of something that ships"));
        return Err(fail.hint(format!("take another, `my-{name}` for example")));
    }
    Ok(())
}

/// The same letters as a name.
fn nearest(name: &str) -> Option<String> {
    let dashed: String =
        name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(LONGEST).collect();
    let words: Vec<&str> = dashed.split('-').filter(|word| !word.is_empty()).collect();
    Some(words.join("-")).filter(|name| !name.is_empty())
}

/// What is written, and where below the playbook's own folder.
fn files(name: &str, id: &str, today: jiff::civil::Date) -> Vec<(String, String)> {
    let filled = |text: &str| text.replace("@NAME@", name).replace("@ID@", id).replace("@DATE@", &today.to_string());
    vec![
        ("playbook.yaml".to_owned(), filled(include_str!("playbook_new/playbook.yaml"))),
        ("playbook.test.yaml".to_owned(), filled(include_str!("playbook_new/playbook.test.yaml"))),
        (format!("rules/{name}.yml"), filled(include_str!("playbook_new/rule.yml"))),
        ("README.md".to_owned(), filled(include_str!("playbook_new/readme.md"))),
        (SCHEMA.to_owned(), super::playbook::schema_text()),
    ]
}

/// A random UUID (RFC 9562, version 4).
fn fresh_id() -> std::io::Result<String> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let free = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62);
    let bits = free | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::File::create_new(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_name_is_told_with_the_nearest_right_one() {
        for (bad, near) in [
            ("Stop Sleeper", Some("stop-sleeper")),
            ("../../etc/x", Some("etc-x")),
            ("-x", Some("x")),
            ("über_all", Some("ber-all")),
            ("…", None),
            ("", None),
        ] {
            assert_eq!(nearest(bad).as_deref(), near, "{bad}");
            let hint = fits(bad).unwrap_err().hint.unwrap();
            assert!(near.is_none_or(|near| hint.contains(&format!("`{near}`")) && fits(near).is_ok()), "{hint}");
        }
        assert!(fits(&"x".repeat(65)).is_err() && fits(&"x".repeat(64)).is_ok());
    }

    #[test]
    fn a_name_that_ships_is_not_taken() {
        assert!(fits("contain-reverse-shell").is_err() && fits("reverse-shell").is_err());
        assert!(fits("my-reverse-shell").is_ok());
    }

    #[test]
    fn ids_are_fresh_and_of_version_4() {
        let (one, other) = (fresh_id().unwrap(), fresh_id().unwrap());
        assert_ne!(one, other);
        assert!(one.len() == 36 && &one[14..15] == "4" && "89ab".contains(&one[19..20]), "{one}");
    }
}
