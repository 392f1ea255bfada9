//! The verb against a reflex in memory: what it plans, enters, proves and gives back. The kernel's own is tried in the
//! tests of the detectors and of the whole.

use super::*;
use crate::testing::Act;
use crate::world::HostWorld;
use quell_model::{Decision, Image, Name, Standing};
use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Nothing can be entered there.
const GONE: Around = Around::Cgroup { number: 0, v2: true };

/// What is entered, and whether its budget is used up from the beginning.
#[derive(Default)]
struct Paper(Mutex<HashMap<Spot, Standing>>, AtomicBool);

impl Reflex for Paper {
    fn image(&self, file: BorrowedFd<'_>) -> Result<Image, String> {
        let stat = rustix::fs::fstat(file).map_err(|e| e.to_string())?;
        Ok(Image { device: stat.st_dev, inode: stat.st_ino, generation: 1 })
    }

    fn standing(&self, spot: &Spot) -> Result<Option<Standing>, String> {
        Ok(self.0.lock().unwrap().get(spot).cloned())
    }

    fn all(&self) -> Result<Vec<Standing>, String> {
        Ok(self.0.lock().unwrap().values().cloned().collect())
    }

    fn enter(&self, spot: &Spot, terms: &Terms, _: Option<BorrowedFd<'_>>) -> Result<(), String> {
        if spot.around == GONE {
            return Err("there is no room".to_owned());
        }
        let spent = self.1.load(Ordering::SeqCst);
        let standing = Standing { spot: *spot, terms: terms.clone(), struck: 0, spent, missed: 0 };
        self.0.lock().unwrap().insert(*spot, standing);
        Ok(())
    }

    fn remove(&self, spot: &Spot) -> Result<bool, String> {
        Ok(self.0.lock().unwrap().remove(spot).is_some())
    }

    fn attempt(&self) -> Result<(), String> {
        Ok(())
    }

    fn scripts(&self) -> Option<Name> {
        Some("fanotify".into())
    }
}

fn verb(paper: &Arc<Paper>) -> BlockExec {
    let world = HostWorld::live("here".into()).unwrap().with_reflex(Arc::clone(paper) as _);
    BlockExec::new(Arc::new(Hands::new(world)))
}

fn finish<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn context() -> ActionContext {
    Act::new().context()
}

fn planned(verb: &BlockExec, input: &Json) -> Plan {
    finish(verb.plan(input)).unwrap()
}

fn why_not(verb: &BlockExec, input: &Json) -> String {
    finish(verb.plan(input)).unwrap_err().to_string()
}

fn needed(plan: &Plan) -> Option<String> {
    match &plan.targets[0].facts {
        TargetFacts::Image { needed, .. } => needed.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_entered_is_proved_and_given_back_exactly() {
    let (dir, paper) = (tempfile::tempdir().unwrap(), Arc::<Paper>::default());
    let path = dir.path().join("miner");
    std::fs::write(&path, "\x7fELF miner").unwrap();
    let verb = verb(&paper);
    let input = json!({ "path": path, "for": "1h", "inode": std::fs::metadata(&path).unwrap().ino() });
    let plan = planned(&verb, &input);
    assert_eq!(plan.before["sha256"], quell_model::Hash::of(b"\x7fELF miner").to_string());
    assert!(!plan.already && needed(&plan).is_none(), "{plan:?}");
    assert_eq!(finish(verb.verify(&plan, Want::Undone)), Ok(Truth::Holds));
    assert!(matches!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::HoldsNot(_))));

    let go = Act::new().admitted(&verb, plan.clone());
    let output = finish(verb.run(&go, &context())).unwrap();
    assert_eq!(output["path"], path.to_str().unwrap());
    assert_eq!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::Holds));
    // A shorter block of the same is there already; a longer one replaces it, and its undo gives the former back.
    assert!(planned(&verb, &json!({ "path": path, "for": "10m" })).already);
    let longer = planned(&verb, &json!({ "path": path, "for": "2h" }));
    assert!(!longer.already);
    let mut other = context();
    other.key = quell_model::IdempotencyKey("other/step".into());
    let former = paper.all().unwrap();
    let go_on = Act::new().admitted(&verb, longer.clone());
    finish(verb.run(&go_on, &other)).unwrap();
    other.key = quell_model::IdempotencyKey("other/step/undo".into());
    finish(verb.undo(&go_on, &other)).unwrap();
    assert_eq!(paper.all().unwrap(), former);
    assert_eq!(finish(verb.verify_undone(&longer, &other)), Ok(Truth::Holds));
    for removed in [1, 0] {
        assert_eq!(finish(verb.undo(&go, &context())).unwrap()["removed"], removed);
        assert!(paper.all().unwrap().is_empty());
        assert_eq!(finish(verb.verify(&plan, Want::Undone)), Ok(Truth::Holds));
    }
}

/// An effect of another run.
fn another(run: &str) -> ActionContext {
    let mut cx = context();
    cx.key = quell_model::IdempotencyKey(format!("{run}/step"));
    cx
}

/// What the taking back of an effect says: how many it removed, and what stands still. It ends, whatever stands.
fn taken_back(verb: &BlockExec, go: &Admitted, cx: &ActionContext) -> (u64, Option<String>) {
    let stands = finish(verb.verify_undone(go.plan(), cx)).unwrap();
    assert!(matches!(stands, Truth::HoldsNot(_)), "it is asked first: {stands:?}");
    let said = finish(verb.undo(go, cx)).unwrap();
    assert_eq!(finish(verb.verify_undone(go.plan(), cx)), Ok(Truth::Holds), "{said}");
    (said["removed"].as_u64().unwrap(), said.get("still").map(|still| still.as_str().unwrap().to_owned()))
}

#[test]
fn what_another_run_wants_still_stands_and_is_told_and_each_is_taken_back() {
    let (dir, path) = (tempfile::tempdir().unwrap(), "miner");
    let path = dir.path().join(path);
    std::fs::write(&path, "\x7fELF miner").unwrap();
    let by = |run: &str| Some(format!("`{}` is kept from starting all the same, by run {run}", path.display()));
    let stands = |paper: &Paper| paper.all().unwrap().first().map(|one| one.terms.owner.clone());
    // Both were planned when nothing stood, or the second when the first did.
    for (second_sees_first, prolonged, first_goes_first) in [true, false]
        .into_iter()
        .flat_map(|sees| [(sees, false, true), (sees, false, false), (sees, true, true), (sees, true, false)])
    {
        let case = format!("{second_sees_first} {prolonged} {first_goes_first}");
        let paper = Arc::<Paper>::default();
        let verb = verb(&paper);
        let (a, b) = (another("r-a"), another("r-b"));
        let (short, long) = (json!({ "path": path, "for": "2h" }), json!({ "path": path, "for": "4h" }));
        let admit = |input: &Json| Act::new().admitted(&verb, planned(&verb, input));
        let early = admit(&long);
        let go_a = admit(&short);
        finish(verb.run(&go_a, &a)).unwrap();
        let go_b = if second_sees_first { admit(&long) } else { early };
        finish(verb.run(&go_b, &b)).unwrap();
        if prolonged {
            finish(verb.hold(&go_a, &a, Duration::from_secs(9 * 3600))).unwrap();
        }
        let last = if prolonged { "r-a" } else { "r-b" };
        assert_eq!(stands(&paper).as_deref(), Some(last), "{case}");
        for go in [&go_a, &go_b] {
            let stands = finish(verb.verify(go.plan(), Want::Undone)).unwrap();
            assert!(matches!(stands, Truth::HoldsNot(_)), "{case}: no lease of the two lapses: {stands:?}");
        }
        let (first, then) = if first_goes_first { ((&go_a, &a, "r-a"), "r-b") } else { ((&go_b, &b, "r-b"), "r-a") };
        let removed = u64::from(first.2 == last);
        assert_eq!(taken_back(&verb, first.0, first.1), (removed, by(then)), "{case}");
        assert_eq!(stands(&paper).as_deref(), Some(then), "{case}");
        let second = if first_goes_first { (&go_b, &b) } else { (&go_a, &a) };
        assert_eq!(taken_back(&verb, second.0, second.1), (1, None), "{case}: the other's does not return with it");
        assert_eq!(stands(&paper), None, "{case}");
        // Once more says the same.
        for (go, cx) in [(&go_a, &a), (&go_b, &b)] {
            assert_eq!(finish(verb.undo(go, cx)).unwrap()["removed"], 0);
            assert_eq!(finish(verb.verify_undone(go.plan(), cx)), Ok(Truth::Holds));
        }
    }
}

/// What waits is known by the next quell from what holds it, and what stood from the plan.
#[test]
fn after_a_start_each_still_ends_as_what_is_true() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("miner");
    std::fs::write(&path, "\x7fELF miner").unwrap();
    let paper = Arc::<Paper>::default();
    let (a, b, before) = (another("r-a"), another("r-b"), verb(&paper));
    let admit = |input: Json| Act::new().admitted(&before, planned(&before, &input));
    let go_a = admit(json!({ "path": path, "for": "2h" }));
    finish(before.run(&go_a, &a)).unwrap();
    let go_b = admit(json!({ "path": path, "for": "4h" }));
    finish(before.run(&go_b, &b)).unwrap();
    let next = verb(&paper);
    let (removed, still) = taken_back(&next, &go_a, &a);
    assert!(removed == 0 && still.is_some_and(|still| still.ends_with("by run r-b")));
    assert_eq!(taken_back(&next, &go_b, &b), (1, None));
    assert_eq!(paper.all().unwrap(), []);
    // And the other way round: it waits again once its lease holds it.
    finish(before.run(&go_b, &b)).unwrap();
    let next = verb(&paper);
    finish(next.hold(&go_a, &a, Duration::from_secs(3600))).unwrap();
    let (removed, still) = taken_back(&next, &go_b, &b);
    assert!(removed == 1 && still.is_some_and(|still| still.ends_with("by run r-a")));
    assert_eq!(taken_back(&next, &go_a, &a), (1, None));
    assert_eq!(paper.all().unwrap(), []);
}

#[test]
fn an_entry_whose_budget_is_used_up_is_not_said_to_keep_anything_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("miner");
    std::fs::write(&path, "\x7fELF miner").unwrap();
    let paper = Arc::<Paper>::default();
    let (a, b, verb) = (another("r-a"), another("r-b"), verb(&paper));
    let admit = |input: Json| Act::new().admitted(&verb, planned(&verb, &input));
    let go_a = admit(json!({ "path": path, "for": "2h" }));
    finish(verb.run(&go_a, &a)).unwrap();
    let go_b = admit(json!({ "path": path, "for": "4h" }));
    finish(verb.run(&go_b, &b)).unwrap();
    paper.0.lock().unwrap().values_mut().for_each(|one| one.spent = true);
    let still = taken_back(&verb, &go_a, &a).1.unwrap();
    assert_eq!(still, format!("an entry for `{}` stands, whose budget is used up, of run r-b", path.display()));
    // And of what stands again in the place of another's.
    finish(verb.hold(&go_a, &a, Duration::from_secs(3600))).unwrap();
    paper.1.store(true, Ordering::SeqCst);
    let still = taken_back(&verb, &go_b, &b).1.unwrap();
    assert!(still.ends_with("whose budget is used up, of run r-a"), "{still}");
}

#[test]
fn half_a_block_is_taken_back() {
    let (dir, paper) = (tempfile::tempdir().unwrap(), Arc::<Paper>::default());
    let path = dir.path().join("miner");
    std::fs::write(&path, "\x7fELF miner").unwrap();
    let verb = verb(&paper);
    let mut plan = planned(&verb, &json!({ "path": path }));
    let mut second = plan.calls[0]["spots"][0].clone();
    second["around"] = serde_json::to_value(GONE).unwrap();
    plan.calls[0]["spots"].as_array_mut().unwrap().push(second);
    let go = Act::new().admitted(&verb, plan);
    let why = finish(verb.run(&go, &context())).unwrap_err().to_string();
    assert!(why.contains("there is no room"), "{why}");
    assert_eq!(paper.all().unwrap(), [], "the step has failed: nothing of it stands");
}

#[test]
fn what_the_machine_needs_is_named_for_the_guard() {
    let verb = verb(&Arc::default());
    let own = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc = own.lines().find_map(|line| line.find("/").map(|at| &line[at..]).filter(|p| p.contains("libc")));
    let quell = std::env::current_exe().unwrap();
    let mut needed_ones =
        vec![("/bin/sh".to_owned(), "sh"), (quell.to_string_lossy().into_owned(), "quell itself needs")];
    needed_ones.extend(libc.map(|path| (path.to_owned(), "quell itself needs")));
    for (path, says) in needed_ones {
        let plan = planned(&verb, &json!({ "path": path }));
        let why = needed(&plan).unwrap_or_else(|| panic!("{path} is not needed"));
        assert!(why.contains(says), "{why}");
        let decided = Act::new().decide(&verb, plan);
        assert!(matches!(&decided, Decision::Refuse { guard, .. } if guard.as_str() == "protect"), "{decided:?}");
    }
}

#[test]
fn an_input_that_cannot_be_meant_says_why() {
    let (dir, verb) = (tempfile::tempdir().unwrap(), verb(&Arc::default()));
    let file = dir.path().join("file");
    std::fs::write(&file, "#!/bin/sh\n").unwrap();
    let at = |rest: Json| {
        let mut input = json!({ "path": file });
        input.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        input
    };
    for (input, says) in [
        (json!({}), "name a `path`"),
        (json!({ "path": "relative" }), "no"),
        (json!({ "path": dir.path() }), "is no file"),
        (json!({ "path": dir.path().join("none") }), "there is no"),
        (at(json!({ "inode": 1 })), "leads to inode"),
        (json!({ "inode": u64::MAX }), "nothing that runs has inode"),
        (at(json!({ "scope": "cgroup" })), "needs a `cgroup`"),
        (at(json!({ "cgroup": "/x" })), "needs `scope: cgroup`"),
        (at(json!({ "scope": "cgroup", "cgroup": "/" })), "no cgroup below the root"),
        (at(json!({ "scope": "cgroup", "cgroup": "/../x" })), "no cgroup below the root"),
        (at(json!({ "scope": "cgroup", "cgroup": "/quell-there-is-none" })), "there is no cgroup"),
        (at(json!({ "for": "soon" })), "no span of time"),
    ] {
        let why = why_not(&verb, &input);
        assert!(why.contains(says), "{input}: {why}");
    }
    let plan = planned(&verb, &at(json!({})));
    assert!(plan.still_open.iter().any(|open| open.contains("while no quell lives")), "{:?}", plan.still_open);
    assert!(plan.still_open.iter().any(|open| open.contains("copy")), "{:?}", plan.still_open);
    let bare = BlockExec::new(Arc::new(Hands::new(HostWorld::live("here".into()).unwrap())));
    assert!(why_not(&bare, &at(json!({}))).contains("no reflex"));
}

#[test]
fn what_stands_is_held_by_its_lease_unless_its_input_says_when_it_ends() {
    let (dir, paper) = (tempfile::tempdir().unwrap(), Arc::<Paper>::default());
    let path = dir.path().join("miner");
    std::fs::write(&path, "\x7fELF miner").unwrap();
    let verb = verb(&paper);
    let ends = |input: Json| verb.ends_after(&planned(&verb, &input));
    assert_eq!(ends(json!({ "path": path, "for": "1h" })), Some(Duration::from_secs(3600)));
    assert_eq!(ends(json!({ "path": path })), None);
    let plan = planned(&verb, &json!({ "path": path }));
    let go = Act::new().admitted(&verb, plan.clone());
    assert_eq!(finish(verb.run(&go, &context())).unwrap()["until"], Json::Null, "its lease says");
    let hours_left = || {
        let until = paper.all().unwrap()[0].terms.until_ns;
        until.saturating_sub(image::now_ns()).div_ceil(3600 * 1_000_000_000)
    };
    assert_eq!(hours_left(), 24);
    for hours in [72, 2] {
        finish(verb.hold(&go, &context(), Duration::from_secs(hours * 3600))).unwrap();
        assert_eq!(hours_left(), hours);
    }
    // What another's stands there for longer stays theirs; for less, it is taken over.
    let mut other = context();
    other.key = quell_model::IdempotencyKey("other/step".into());
    let theirs = Act::new().admitted(&verb, planned(&verb, &json!({ "path": path, "for": "9h" })));
    finish(verb.run(&theirs, &other)).unwrap();
    finish(verb.hold(&go, &context(), Duration::from_secs(8 * 3600))).unwrap();
    assert_eq!((hours_left(), paper.all().unwrap()[0].terms.id), (9, number(&other)));
    finish(verb.hold(&go, &context(), Duration::from_secs(10 * 3600))).unwrap();
    assert_eq!((hours_left(), paper.all().unwrap()[0].terms.id), (10, number(&context())));
}

#[test]
fn what_a_boot_ended_is_planned_again_with_the_same_content_alone() {
    let (dir, paper) = (tempfile::tempdir().unwrap(), Arc::<Paper>::default());
    let path = dir.path().join("miner");
    std::fs::write(&path, "\x7fELF miner").unwrap();
    let verb = verb(&paper);
    for input in [json!({ "path": path }), json!({ "path": path, "for": "3h" })] {
        let plan = planned(&verb, &input);
        let again = finish(verb.plan_again(&input, &plan)).unwrap();
        assert_eq!(again.sum(), plan.sum(), "where nothing has changed, it is the same");
        assert_eq!(again.before["sha256"], plan.before["sha256"]);
    }
    let (input, plan) = (json!({ "path": path }), planned(&verb, &json!({ "path": path })));
    std::fs::write(&path, "\x7fELF another").unwrap();
    let why = finish(verb.plan_again(&input, &plan)).unwrap_err().to_string();
    assert!(why.contains("has another content now"), "{why}");
    std::fs::remove_file(&path).unwrap();
    let why = finish(verb.plan_again(&input, &plan)).unwrap_err().to_string();
    assert!(why.contains("there is no"), "{why}");
}

#[test]
fn a_script_that_cannot_be_marked_again_is_not_told_as_held() {
    let (dir, paper) = (tempfile::tempdir().unwrap(), Arc::<Paper>::default());
    let path = dir.path().join("job");
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    let verb = verb(&paper);
    let go = Act::new().admitted(&verb, planned(&verb, &json!({ "path": path })));
    finish(verb.run(&go, &context())).unwrap();
    let hold = || finish(verb.hold(&go, &context(), Duration::from_secs(60)));
    hold().unwrap();
    std::fs::rename(&path, dir.path().join("away")).unwrap();
    let why = hold().unwrap_err().to_string();
    assert!(why.contains("cannot be marked again"), "{why}");
    assert_eq!(paper.all().unwrap(), [], "what does not keep it from starting does not stand");
}
