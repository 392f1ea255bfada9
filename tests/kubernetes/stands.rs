//! The cluster itself is what the other tests rely on: pods run, talk and are found from the host, and nothing of it stays behind,
//! whoever is killed. Knows quell's name alone, by which leftovers are found.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

use crate::cluster::{Cluster, cgroups, script, until};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

const PAIR: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: pair, namespace: NAMESPACE }
spec:
  replicas: 2
  selector: { matchLabels: { app: pair } }
  template:
    metadata: { labels: { app: pair } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: localhost/quell-bb:1
          imagePullPolicy: Never
          command: [sh, -c, "hostname > /tmp/name; exec httpd -f -p 8080 -h /tmp"]
          readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: pair, namespace: NAMESPACE }
spec: { selector: { app: pair }, ports: [{ port: 80, targetPort: 8080 }] }
"#;

#[test]
fn two_pods_talk_and_their_processes_are_found_from_the_host() {
    let Some(cluster) = Cluster::shared("pods of a real cluster") else { return };
    let namespace = cluster.namespace("stands-pair");
    cluster.apply(&PAIR.replace("NAMESPACE", &namespace.name));
    let pods = namespace.ready("app=pair", 2);
    let (one, other) = (&pods[0], &pods[1]);

    // Commands run in it, and it is who it should be.
    assert_eq!(one.says(&["hostname"]).trim(), one.name());

    // From pod to pod, and by the Service, which leads to both of them.
    let ask = |address: &str, port: &str| {
        let line = format!("printf 'GET /name HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} {port} | tail -n 1");
        one.says(&["sh", "-c", &line]).trim().to_owned()
    };
    assert_eq!(ask(other.ip(), "8080"), other.name());
    let service = cluster.get(&["service", "pair", "-n", &namespace.name]);
    let address = service["spec"]["clusterIP"].as_str().unwrap();
    for pod in &pods {
        until("the Service leads to each of its pods", || (ask(address, "80") == pod.name()).then_some(()));
    }

    // Every hierarchy knows the process by pod and container.
    for pod in &pods {
        // Whoever it is talking to has a process of its own for a moment.
        let pids = until("its server alone runs", || Some(pod.pids("main")).filter(|pids| pids.len() == 1));
        let command = fs::read_to_string(format!("/proc/{}/comm", pids[0])).unwrap();
        assert_eq!(command.trim(), "httpd");
        let paths = cgroups(pids[0]);
        assert!(!paths.is_empty());
        if let Some(root) = cluster.try_fact("CGROUP") {
            let expected = format!("{root}/kubepods/besteffort/pod{}/{}", pod.uid(), pod.container("main"));
            assert!(paths.iter().all(|path| *path == expected), "{expected}: {paths:?}");
        }
    }
}

/// What stands of a cluster: cgroups, its end of the veth, its mark, what is mounted, its files.
fn traces(id: &str, dir: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mut found: Vec<String> =
        mounts.lines().filter(|line| line.contains(dir.to_str().unwrap())).map(str::to_owned).collect();
    let roots = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let groups =
        roots.filter(|parts| parts[2].starts_with("cgroup")).map(|parts| format!("{}/quell-kube-{id}", parts[1]));
    let others =
        [format!("/sys/class/net/quell-{id}"), format!("/run/quell-kube/{id}"), dir.to_str().unwrap().to_owned()];
    found.extend(groups.chain(others).filter(|path| Path::new(path).exists()));
    found
}

#[test]
fn an_api_server_alone_answers_and_nothing_of_it_stays() {
    let Some(cluster) = Cluster::own("an API server without a node", &["--api-only"]) else { return };
    let (id, dir) = (cluster.fact("ID").to_owned(), cluster.dir.clone());
    let namespace = cluster.namespace("stands-api");
    cluster.apply(&PAIR.replace("NAMESPACE", &namespace.name));
    until("the controllers make the pods of a deployment", || {
        let pods = cluster.get(&["pods", "-n", &namespace.name, "-l", "app=pair"]);
        (pods["items"].as_array().unwrap().len() == 2).then_some(())
    });
    // It can be away, and come again.
    cluster.service("kube-apiserver", "stop");
    assert!(!cluster.kubectl(&["get", "--raw", "/readyz"]).output().unwrap().status.success());
    cluster.service("kube-apiserver", "start");
    until("it answers again", || {
        cluster.kubectl(&["get", "--raw", "/readyz"]).output().unwrap().status.success().then_some(())
    });
    assert!(traces(&id, &dir).len() > 3, "what is looked for below is what stands now");
    drop(namespace);
    cluster.end();
    assert_eq!(traces(&id, &dir), Vec::<String>::new());
}

#[test]
fn nothing_stays_of_a_cluster_whose_keeper_and_starter_were_killed() {
    let Some(cluster) = Cluster::own("a cluster whose keeper is killed", &["--api-only"]) else { return };
    let (id, dir) = (cluster.fact("ID").to_owned(), cluster.dir.clone());
    let mark = fs::read_to_string(format!("/run/quell-kube/{id}")).unwrap();
    let keeper = mark.lines().find_map(|line| line.strip_prefix("keeper=")?.split(' ').next()).unwrap();
    let killed = Command::new("kill").args(["-KILL", &cluster.pid().to_string(), keeper]).status().unwrap();
    assert!(killed.success());
    drop(cluster);
    assert!(traces(&id, &dir).len() > 3, "nobody was there to end it");
    // Whoever starts one, or asks for it, ends what was left.
    let swept = Command::new(script()).arg("sweep").stdin(Stdio::null()).output().unwrap();
    assert!(swept.status.success(), "{swept:?}");
    // What its services said stays: somebody may ask why it was killed.
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(traces(&id, &dir), Vec::<String>::new());
}

/// A script in the place of a program, unless it is there.
fn stand_in(at: &Path, script: &str) {
    if !at.exists() {
        fs::write(at, format!("#!/bin/bash\n# Stands in for another.\n{script}")).unwrap();
        fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// `scripts/cluster build` into an empty cache, with this in the place of Go.
fn build_with(home: &Path, go: &str) -> Command {
    stand_in(&home.join("go"), go);
    let path = format!("{}:{}", home.display(), std::env::var("PATH").unwrap());
    let mut build = Command::new(script());
    build.args(["build", "--api-only"]).env("PATH", path).env("QUELL_CACHE", home).env_remove("KUBEBUILDER_ASSETS");
    build.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    build
}

#[test]
fn where_go_is_too_old_it_says_what_is_missing() {
    let home = tempfile::tempdir().unwrap();
    let out = build_with(home.path(), "echo 'go.mod requires go >= 1.24.0' >&2\nexit 1\n").output().unwrap();
    assert_eq!(out.status.code(), Some(4), "{out:?}");
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(said.contains("go.mod requires go >= 1.24.0"), "{said}");
}

#[test]
fn of_two_who_build_at_once_one_builds() {
    let home = tempfile::tempdir().unwrap();
    // Builds half of a program, waits until it may go on, and builds the rest.
    let go = "cd \"$QUELL_CACHE\"\n[ \"$1\" = build ] || exit 0\nwhile [ \"$1\" != -o ]; do shift; done\n\
        echo \"$2\" >>built\necho half >\"$2\"\nuntil [ -e go-on ]; do sleep 0.05; done\necho whole >\"$2\"; chmod 755 \"$2\"\n";
    let built = || fs::read_to_string(home.path().join("built")).unwrap_or_default();
    let mut one = build_with(home.path(), go).spawn().unwrap();
    until("the first builds", || (!built().is_empty()).then_some(()));
    let other = build_with(home.path(), go).spawn().unwrap();
    // Killed in the midst of it: the other goes on where it was, and takes nothing half built for a program.
    one.kill().unwrap();
    one.wait().unwrap();
    fs::write(home.path().join("go-on"), "").unwrap();
    let third = build_with(home.path(), go).spawn().unwrap();
    for each in [other, third] {
        let out = each.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    let names = ["kube-apiserver", "kube-controller-manager", "kubectl"];
    let cache =
        fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    for name in names {
        assert_eq!(fs::read_to_string(cache.join(name)).unwrap(), "whole\n", "{name}");
    }
    // What the killed one had begun was begun again, and nothing twice beside that.
    assert_eq!(built().lines().count(), names.len() + 1, "{}", built());
}

#[test]
fn what_kubebuilder_assets_has_is_taken_before_anything_is_built() {
    let home = tempfile::tempdir().unwrap();
    let assets = home.path().join("assets");
    fs::create_dir(&assets).unwrap();
    for name in ["kube-apiserver", "kube-controller-manager", "kubectl"] {
        stand_in(&assets.join(name), "");
    }
    let go = "[ \"$1\" = build ] || exit 0\nwhile [ \"$1\" != -o ]; do shift; done\n\
        echo \"$2\" >>\"$QUELL_CACHE/built\"\necho whole >\"$2\"; chmod 755 \"$2\"\n";
    let built = || fs::read_to_string(home.path().join("built")).unwrap_or_default();
    let build = || build_with(home.path(), go).env("KUBEBUILDER_ASSETS", &assets).output().unwrap();
    let out = build();
    assert!(out.status.success() && built().is_empty(), "{}: {out:?}", built());
    // Of what it lacks that alone is built.
    fs::remove_file(assets.join("kubectl")).unwrap();
    let out = build();
    assert!(out.status.success(), "{out:?}");
    assert!(built().lines().count() == 1 && built().contains("kubectl"), "{}", built());
}

/// `scripts/cluster up` where KUBECONFIG names somebody's cluster, which this kubectl asks.
fn up_beside(home: &Path, has_namespace: bool) -> Command {
    let asks = "echo \"$KUBECONFIG: $*\" >>\"$QUELL_CACHE/asked\"\ncase \"$*\" in\n\
        'get namespace quell-tests') [ -e \"$QUELL_CACHE/for-tests\" ] ;;\n\
        'config view --raw --flatten --minify') echo 'kubeconfig: theirs' ;;\n\
        'get nodes -o name') echo node/theirs; echo node/other ;;\n\
        'config view --minify -o jsonpath='*) echo https://theirs:6443 ;;\n\
        *) exit 9 ;;\nesac\n";
    stand_in(&home.join("kubectl"), asks);
    if has_namespace {
        fs::write(home.join("for-tests"), "").unwrap();
    }
    stand_in(&home.join("go"), "echo 'nothing is built here' >&2\nexit 1\n");
    let path = format!("{}:{}", home.display(), std::env::var("PATH").unwrap());
    let mut up = Command::new(script());
    up.arg("up").arg(home.join("cluster")).args(["--api-only", "--until-eof"]);
    up.env("PATH", path).env("QUELL_CACHE", home).env("KUBECONFIG", "theirs").env_remove("KUBEBUILDER_ASSETS");
    up.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    up
}

#[test]
fn a_cluster_of_kubeconfig_that_says_it_is_for_tests_is_taken_and_nothing_is_started() {
    let home = tempfile::tempdir().unwrap();
    let mut up = up_beside(home.path(), true).spawn().unwrap();
    let dir = home.path().join("cluster");
    let mut line = String::new();
    BufReader::new(up.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), dir.join("admin.kubeconfig").to_str().unwrap());
    assert_eq!(fs::read_to_string(dir.join("admin.kubeconfig")).unwrap(), "kubeconfig: theirs\n");
    let env = fs::read_to_string(dir.join("env")).unwrap();
    for fact in ["EXISTING=1", "NODE=theirs", "API=https://theirs:6443"] {
        assert!(env.lines().any(|line| line == fact), "{fact}: {env}");
    }
    assert!(!env.contains("PID_") && !env.contains("CGROUP="), "{env}");
    drop(up.stdin.take());
    let out = up.wait_with_output().unwrap();
    assert!(out.status.success() && !dir.exists(), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("nothing is started"), "{out:?}");
}

#[test]
fn a_cluster_of_kubeconfig_that_people_live_by_is_asked_one_thing_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let out = up_beside(home.path(), false).output().unwrap();
    // One of our own would be started; there is nothing to start it with here.
    assert_eq!(out.status.code(), Some(4), "{out:?}");
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(said.contains("has no namespace `quell-tests`") && said.contains("it is left alone"), "{said}");
    assert_eq!(fs::read_to_string(home.path().join("asked")).unwrap(), "theirs: get namespace quell-tests\n");
}

/// A test of this file that passes where there is no cluster says so where somebody reads it, and is a failure where there has to be one.
#[test]
fn what_is_not_tested_is_said_aloud_and_is_a_failure_in_ci() {
    let home = tempfile::tempdir().unwrap();
    stand_in(&home.path().join("go"), "echo 'nothing is built here' >&2\nexit 1\n");
    let path = format!("{}:{}", home.path().display(), std::env::var("PATH").unwrap());
    let run = |required: Option<&str>| {
        let mut run = Command::new(std::env::current_exe().unwrap());
        run.args(["kubernetes::stands::an_api_server_alone_answers_and_nothing_of_it_stays", "--exact"]);
        run.env("PATH", &path).env("QUELL_CACHE", home.path());
        for name in ["CI", "QUELL_REQUIRE_CLUSTER", "KUBEBUILDER_ASSETS", "KUBECONFIG"] {
            run.env_remove(name);
        }
        let out = run.envs(required.map(|name| (name, "true"))).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        (out.status.success(), said, String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let (passes, said, told) = run(None);
    assert!(passes && told.contains("1 passed"), "{told}{said}");
    assert!(said.contains("NOT TESTED: an API server without a node: `scripts/cluster up` ended with"), "{said}");
    for required in ["CI", "QUELL_REQUIRE_CLUSTER"] {
        let (passes, said, told) = run(Some(required));
        assert!(!passes && told.contains(&format!("{required} is set, and")), "{told}{said}");
    }
}

#[test]
fn an_image_of_the_same_directory_is_the_same() {
    let home = tempfile::tempdir().unwrap();
    let image = |name: &str| {
        let root = home.path().join(name);
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin/program"), "text").unwrap();
        let mut pack = Command::new(script());
        pack.args(["pack", "localhost/quell-same:1"]).arg(&root).args(["/bin/program", "--flag"]);
        let out = pack.stdin(Stdio::null()).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    };
    let (one, other) = (image("one"), image("other"));
    assert!(one.len() > 4096 && one == other);
}
