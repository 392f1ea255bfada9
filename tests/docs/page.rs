//! A page's pieces: commands of its indented blocks, and files that a sentence names above a fenced block.

/// What a reader would do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A line of an indented block, without its comment.
    Command(String),
    /// A fenced block under a sentence that names a file in backticks.
    File {
        /// As the sentence names it.
        path: String,
        /// The block.
        text: String,
    },
}

/// In the page's order.
pub(super) fn pieces(page: &str) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut named: Option<String> = None;
    let mut fence: Option<String> = None;
    for line in page.lines() {
        if line.starts_with("```") {
            match fence.take() {
                None => fence = Some(String::new()),
                Some(text) => found.extend(named.take().map(|path| Piece::File { path, text })),
            }
        } else if let Some(text) = &mut fence {
            text.push_str(line);
            text.push('\n');
        } else if let Some(command) = line.strip_prefix("    ") {
            let command = command.split("  #").next().unwrap_or_default().trim();
            if !command.is_empty() {
                found.push(Piece::Command(command.to_owned()));
            }
        } else if let Some(path) =
            line.split('`').skip(1).step_by(2).find(|path| path.contains('.') && !path.contains(' '))
        {
            named = Some(path.to_owned());
        }
    }
    found
}

#[test]
fn commands_and_files_are_found_in_order() {
    let page = "As `a b` says. In `a/b.yml`:\n\n```yaml\nx: 1\n```\n\nCheck it:\n\n    quell rules check a   # now\n";
    let file = Piece::File { path: "a/b.yml".to_owned(), text: "x: 1\n".to_owned() };
    assert_eq!(pieces(page), [file, Piece::Command("quell rules check a".to_owned())]);
}
