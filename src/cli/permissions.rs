//! `quell action permissions`: the least that playbooks need to be allowed, as who grants it takes it.
//!
//! Owns the forms. What is needed is `daemon::Needs`' to say. Keeps true: nothing broader is printed than what actions declare.

use super::permissions_compare::{self, Granted};
use super::table::{Table, cell};
use super::term::Ink;
use super::{Exit, Fail, Term, mistakes, place};
use crate::daemon::around::{Asked, gather};
use crate::daemon::files::{self, Given};
use crate::daemon::{Kube, Needs};
use quell_engine::load::Config;
use quell_model::playbook::Playbook;
use quell_model::{Mistake, MistakeLevel};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// What a role of quell's is called.
const NAME: &str = "quell";

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell action permissions --format kubernetes-rbac > role.yaml\n  quell action permissions --format kubernetes-rbac --compare live\n  quell action permissions --format linux-capabilities --compare /etc/systemd/system/quell.service\n\nWith --compare it ends with 1 when something that is needed is not granted."
)]
pub(crate) struct Args {
    /// Playbooks, or directories of them, in place of those that are loaded
    #[arg(long, value_name = "DIR", num_args = 1..)]
    playbooks: Vec<PathBuf>,
    /// The configuration [default: /etc/quell/quell.yaml if it is there]
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// As whom it is for
    #[arg(long, value_name = "FORMAT")]
    format: Format,
    /// Let actions act in this namespace alone; may be given several times [default: guard.only_within.namespace, else all]
    #[arg(long, value_name = "NAME")]
    namespace: Vec<String>,
    /// Let actions write bindings of this role alone (`bind` with its name); may be given several times [default: of every role]
    #[arg(long, value_name = "ROLE", conflicts_with = "compare")]
    bind: Vec<String>,
    /// Hold it against what is granted: a manifest or a unit, `-` for stdin, `live` for what the cluster or the kernel lets this quell do
    #[arg(long, value_name = "FILE|-|live")]
    compare: Option<String>,
}

/// For whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Format {
    /// A ClusterRole, and a Role a namespace
    KubernetesRbac,
    /// The capabilities of a process
    LinuxCapabilities,
}

impl Format {
    fn as_str(self) -> &'static str {
        match self {
            Self::KubernetesRbac => "kubernetes-rbac",
            Self::LinuxCapabilities => "linux-capabilities",
        }
    }
}

/// Prints, or compares.
pub(crate) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    place::must_exist(&args.config)?;
    let (needs, config) = needs(args, term)?;
    let own = config.guard.only_within.as_ref().and_then(|within| within.namespace.as_ref());
    let namespaces = if args.namespace.is_empty() {
        own.map(ToString::to_string).into_iter().collect()
    } else {
        args.namespace.clone()
    };
    let Some(from) = &args.compare else {
        print(args, &needs, &namespaces, term)?;
        return Ok(Exit::Right);
    };
    let granted = Granted::read(from, args.format, || Kube::of(&config), &namespaces)?;
    let rows = permissions_compare::rows(args.format, &needs, &namespaces, &granted);
    Ok(permissions_compare::print(args.format.as_str(), &rows, &granted, term))
}

/// Of the playbooks that are asked for.
fn needs(args: &Args, term: &Term) -> Result<(Needs, Config), Fail> {
    let specs = crate::daemon::specs();
    let broken = |found: &[Mistake]| {
        mistakes::draw(term, found);
        Fail::not_right("the playbooks, or the configuration, have mistakes: what they need is not known")
    };
    if args.playbooks.is_empty() {
        let loaded = files::load(&Given { config: args.config.clone(), mode: None });
        if loaded.has_errors() {
            return Err(broken(&loaded.mistakes));
        }
        return Ok((Needs::of(&loaded.definitions.playbooks, &[], &specs), loaded.config));
    }
    place::must_exist(&args.playbooks)?;
    let found = gather(&Asked { paths: &args.playbooks, rules: &[], config: args.config.as_deref() });
    if found.mistakes.iter().any(|mistake| mistake.level == MistakeLevel::Error) {
        return Err(broken(&found.mistakes));
    }
    let playbooks: Vec<Arc<Playbook>> = found.playbooks;
    Ok((Needs::of(&playbooks, &found.others, &specs), found.config))
}

fn print(args: &Args, needs: &Needs, namespaces: &[String], term: &Term) -> Result<(), Fail> {
    let format = args.format;
    match format {
        Format::KubernetesRbac => {
            let manifests = needs.wanted(namespaces, &args.bind).manifests(NAME);
            if term.is_json() {
                let rows: Vec<Value> = needs
                    .of_cluster()
                    .map(|(one, needed_by)| json!({ "id": one.to_string(), "for": needed_by }))
                    .collect();
                term.document(&json!({ "format": format.as_str(), "permissions": rows, "manifests": manifests }));
                return Ok(());
            }
            term.raw(manifest(needs, &manifests, args.bind.is_empty())?.as_bytes());
        }
        Format::LinuxCapabilities => {
            if term.is_json() {
                let rows: Vec<Value> =
                    needs.of_kernel().map(|(name, needed_by)| json!({ "id": name, "for": needed_by })).collect();
                term.document(&json!({ "format": format.as_str(), "permissions": rows }));
                return Ok(());
            }
            let mut table = Table::new(&["capability", "for"]);
            for (name, needed_by) in needs.of_kernel() {
                let needed_by: Vec<&str> = needed_by.iter().map(String::as_str).collect();
                table.row([(Ink::Name, name.to_owned()), cell(needed_by.join(", "))]);
            }
            table.print(term, "");
        }
    }
    Ok(())
}

/// As `kubectl apply` takes it, with what needs it on top. `of_all`: nobody has named the roles whose bindings are written.
fn manifest(needs: &Needs, manifests: &[Value], of_all: bool) -> Result<String, Fail> {
    let needed_by: BTreeSet<&str> =
        needs.of_cluster().flat_map(|(_, needed_by)| needed_by).map(String::as_str).collect();
    let mut text =
        "# What these need and nothing else, as `quell action permissions --format kubernetes-rbac` prints it:\n"
            .to_owned();
    needed_by.iter().for_each(|one| text += &format!("#   {one}\n"));
    if of_all && needs.of_cluster().any(|(one, _)| one.is_by_name()) {
        text += "# `bind` of every role is the right to become anything: `--bind ROLE` names those that accounts may be taken out of.\n";
    }
    for one in manifests {
        let yaml = serde_yaml::to_string(one)
            .map_err(|error| Fail::not_right(format!("the role cannot be written: {error}")))?;
        text += &format!("---\n{yaml}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(format: Format, compare: Option<String>, dir: &std::path::Path) -> Args {
        std::fs::write(
            dir.join("p.yaml"),
            "playbook: labels\non: { manual: true }\nsteps:\n  label: { action: kubernetes.label_pod, with: { pod: shop/web, labels: { seen: 'yes' } } }\n",
        )
        .unwrap();
        let config = dir.join("quell.yaml");
        std::fs::write(&config, "kubernetes: { enabled: false }\nplaybooks: { shipped: false }\n").unwrap();
        Args {
            playbooks: vec![dir.join("p.yaml")],
            config: Some(config),
            format,
            namespace: vec!["shop".into()],
            bind: Vec::new(),
            compare,
        }
    }

    #[test]
    fn the_role_that_is_printed_is_the_one_that_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let term = Term::catching(None);
        assert_eq!(run(&args(Format::KubernetesRbac, None, dir.path()), &term).unwrap(), Exit::Right);
        let printed = term.caught();
        insta::assert_snapshot!(printed);
        let role = dir.path().join("role.yaml");
        std::fs::write(&role, &printed).unwrap();
        let compared = args(Format::KubernetesRbac, Some(role.display().to_string()), dir.path());
        let term = Term::catching(None);
        assert_eq!(run(&compared, &term).unwrap(), Exit::Right);
        assert!(!term.caught().contains("missing"), "{}", term.caught());
        // Without one of its verbs it is not enough, and what is more is told.
        std::fs::write(&role, printed.replace("- patch", "- delete")).unwrap();
        let term = Term::catching(None);
        assert_eq!(run(&compared, &term).unwrap(), Exit::NotRight);
        let told = term.caught();
        assert!(told.contains("missing") && told.contains("patch pods in shop"), "{told}");
        assert!(told.contains("unused") && told.contains("delete pods in shop"), "{told}");
    }

    #[test]
    fn bindings_are_written_of_the_roles_that_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut asked = args(Format::KubernetesRbac, None, dir.path());
        std::fs::write(
            dir.path().join("p.yaml"),
            "playbook: revokes\non: { manual: true }\nsteps:\n  revoke: { action: kubernetes.revoke_service_account, with: { account: shop/web } }\n",
        )
        .unwrap();
        asked.namespace = Vec::new();
        let printed = |asked: &Args| {
            let term = Term::catching(None);
            assert_eq!(run(asked, &term).unwrap(), Exit::Right);
            term.caught()
        };
        let of_all = printed(&asked);
        assert!(of_all.contains("`--bind ROLE` names") && !of_all.contains("resourceNames"), "{of_all}");
        asked.bind = vec!["view".into()];
        let of_one = printed(&asked);
        assert!(of_one.contains("  resourceNames:\n  - view\n") && !of_one.contains("--bind"), "{of_one}");
        assert_eq!(of_one.matches("- bind\n").count(), 1, "{of_one}");
        // Such a role is enough, and says of which roles.
        let role = dir.path().join("role.yaml");
        std::fs::write(&role, &of_one).unwrap();
        asked.bind = Vec::new();
        asked.compare = Some(role.display().to_string());
        let told = printed(&asked);
        let row = told.lines().find(|line| line.contains("bind clusterroles")).unwrap();
        assert!(row.contains("needed") && row.contains("only of view"), "{told}");
        assert!(!told.contains("unused"), "{told}");
    }

    #[test]
    fn capabilities_are_listed_and_held_against_a_unit() {
        let dir = tempfile::tempdir().unwrap();
        let unit = dir.path().join("quell.service");
        std::fs::write(&unit, "# CAP_SYS_BOOT is for nobody\n[Service]\nCapabilityBoundingSet=CAP_BPF CAP_PERFMON CAP_SYS_PTRACE CAP_SYS_TIME\n").unwrap();
        let compared = args(Format::LinuxCapabilities, Some(unit.display().to_string()), dir.path());
        let term = Term::catching(None);
        assert_eq!(run(&compared, &term).unwrap(), Exit::NotRight);
        let told = term.caught();
        let row = |name: &str| told.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
        assert!(row("CAP_BPF").contains("needed") && row("CAP_SYS_NICE").contains("missing"), "{told}");
        assert!(row("CAP_SYS_TIME").contains("unused") && row("CAP_SYS_BOOT").is_empty(), "{told}");
    }
}
