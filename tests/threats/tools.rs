//! What attacks are made of: tools of the host by whole path, and one small program that is compiled once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The whole path of a tool that `scripts/setup test` installs.
#[track_caller]
pub(super) fn tool(name: &str) -> String {
    let places = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    let found = places.iter().map(|dir| format!("{dir}/{name}")).find(|path| Path::new(path).exists());
    found.unwrap_or_else(|| panic!("`{name}` is missing; hint: scripts/setup test installs it"))
}

/// Reads FILE when there is one, connects to PORT on loopback, reads one line and answers with what it read, or with the
/// goal. Arguments mean nothing to it.
const PROGRAM: &str = r#"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	static char secret[4096] = "goal-42\n";
	char line[256];
	struct sockaddr_in to = { .sin_family = AF_INET };
	int s = socket(AF_INET, SOCK_STREAM, 0);
	if (getenv("FILE")) {
		int f = open(getenv("FILE"), O_RDONLY);
		memset(secret, 0, sizeof(secret));
		if (f < 0 || read(f, secret, sizeof(secret) - 1) < 0)
			return 1;
		close(f);
	}
	to.sin_port = htons(atoi(getenv("PORT")));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(s, (void *)&to, sizeof(to)) || read(s, line, sizeof(line)) <= 0)
		return 1;
	return write(s, secret, strlen(secret)) < 0;
}
"#;

/// The program, compiled.
pub(super) fn program(dir: &Path) -> PathBuf {
    compile(dir, "program", PROGRAM)
}

/// Compiles a C program.
pub(super) fn compile(dir: &Path, name: &str, text: &str) -> PathBuf {
    let (source, path) = (write(dir, &format!("{name}.c"), text), dir.join(name));
    let done = Command::new(tool("gcc")).args(["-O1", "-o"]).arg(&path).arg(&source).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    path
}

/// A file with a text.
pub(super) fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

/// A file that may be executed, with a text.
pub(super) fn script(dir: &Path, name: &str, text: &str) -> String {
    let path = write(dir, name, text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A copy of a program under another name.
pub(super) fn copy(from: &Path, to: &Path) -> String {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
    to.to_str().unwrap().to_owned()
}
