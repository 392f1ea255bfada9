//! One way of attacking, tried twice: where quell may touch nothing it reaches its goal, where it may it is stopped.

use super::group::Group;
use super::listener::Listener;
use super::stage::Stage;
use super::wait_for;
use std::path::PathBuf;
use std::process::Child;

/// What an attack is given.
pub(super) struct Place {
    /// A directory of its own.
    pub(super) dir: PathBuf,
    /// Another in /dev/shm.
    pub(super) shm: PathBuf,
    /// Where its other end listens, on loopback.
    pub(super) port: u16,
    /// The small program of [`super::tools::program`].
    pub(super) program: PathBuf,
}

/// One way.
pub(super) struct Variant {
    /// Names its cgroup and its directory.
    pub(super) name: &'static str,
    /// Its command line; makes what it needs in its directory.
    pub(super) prepare: fn(&Place) -> Vec<String>,
    /// What the attacker says first, where the attack shows itself only then.
    pub(super) opening: Option<&'static str>,
}

/// A kind of attack.
pub(super) struct Threat {
    /// What stops it.
    pub(super) playbook: &'static str,
    /// The ports of its other end; none: any.
    pub(super) ports: &'static [u16],
    /// At least five.
    pub(super) variants: Vec<Variant>,
}

/// A started attack; ended with the test, however that ends.
struct Attack<'a> {
    child: Child,
    group: &'a Group,
    listener: Listener,
    dir: PathBuf,
}

impl<'a> Attack<'a> {
    fn start(stage: &Stage, group: &'a Group, threat: &Threat, variant: &Variant) -> Self {
        let (dir, shm) = stage.dirs(group);
        let listener = Listener::new(threat.ports);
        let place = Place { dir: dir.clone(), shm, port: listener.port(), program: stage.program.clone() };
        let argv = (variant.prepare)(&place);
        let env = [("PORT", place.port.to_string()), ("HOME", dir.join("home").to_str().unwrap().to_owned())];
        let child = group.spawn(&argv, &dir, &env);
        Self { child, group, listener, dir }
    }

    /// What it printed, for a failed test.
    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Attack<'_> {
    fn drop(&mut self) {
        self.group.end();
        drop(self.child.wait());
    }
}

impl Threat {
    /// Tries every way twice; tells all that went otherwise.
    pub(super) fn is_stopped(&self) {
        assert!(self.variants.len() >= 5);
        let Some(stage) = Stage::enter() else { return };
        let wrong: Vec<String> = self.variants.iter().filter_map(|variant| self.both(&stage, variant).err()).collect();
        assert!(wrong.is_empty(), "{}\n\nThe daemon said last:\n{}", wrong.join("\n\n"), stage.log());
    }

    fn both(&self, stage: &Stage, variant: &Variant) -> Result<(), String> {
        self.works(stage, variant).map_err(|why| format!("{} without quell: {why}", variant.name))?;
        // The sensor bounds the time it gives to the question who holds a pipe's other end: on a machine that is busy with
        // other tests' shells one may stay unasked. That is told, and tried once more.
        self.stops(stage, variant, variant.name)
            .or_else(|why| {
                eprintln!("{} with quell, tried again: {why}", variant.name);
                self.stops(stage, variant, &format!("{}-again", variant.name))
            })
            .map_err(|why| format!("{} with quell: {why}", variant.name))
    }

    fn works(&self, stage: &Stage, variant: &Variant) -> Result<(), String> {
        let group = stage.outside.below(variant.name);
        let mut attack = Attack::start(stage, &group, self, variant);
        if let Some(words) = variant.opening {
            attack.listener.greet(words);
        }
        attack.listener.goal().ok_or_else(|| format!("it does not reach its goal\n{}", attack.log()))
    }

    fn stops(&self, stage: &Stage, variant: &Variant, name: &str) -> Result<(), String> {
        let group = stage.inside.below(name);
        let mut attack = Attack::start(stage, &group, self, variant);
        if let Some(words) = variant.opening {
            attack.listener.greet(words);
        }
        let told = |attack: &mut Attack<'_>| {
            attack.listener.take();
            drop(attack.child.try_wait());
            stage.has_proved(&group, self.playbook).then_some(())
        };
        wait_for(|| told(&mut attack)).ok_or_else(|| {
            let runs: Vec<String> = stage.runs(&group).iter().map(ToString::to_string).collect();
            format!(
                "no run of `{}` has a verified kill\nalive: {:?}\nruns: {}\n{}",
                self.playbook,
                group.living(),
                runs.join("\n"),
                attack.log()
            )
        })?;
        // A relay that has lost its shell does no harm, and ends when the other side does.
        attack.listener.ask();
        wait_for(|| {
            drop(attack.child.try_wait());
            group.living().is_empty().then_some(())
        })
        .ok_or_else(|| format!("still alive: {:?}", group.living()))?;
        let listener = std::mem::replace(&mut attack.listener, Listener::new(&[]));
        let words = listener.remains();
        if Listener::is_goal(&words) { Err(format!("it reached its goal: {words}")) } else { Ok(()) }
    }
}

/// Owned words of a command line.
pub(super) fn words(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|&word| word.to_owned()).collect()
}
