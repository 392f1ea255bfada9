//! Secrets in a run: the verb has the value, and nothing else ever does.

use super::*;
use crate::load::{Known, SecretFrom, playbook};
use crate::report;
use crate::run::fixtures::socket;
use quell_model::SecretRef;
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What no file and no answer may hold: with signs that are written otherwise in JSON.
const VALUE: &str = "s3cr3t-\"Wert\"\\42";

#[derive(serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// What is done with the value.
    how: String,
    token: SecretRef,
}

/// Calls an API, and has a loose tongue.
struct Calls(Arc<Mutex<Vec<String>>>);

static CALL: ActionSpec = ActionSpec {
    name: "api.call",
    summary: "calls",
    input: || schemars::schema_for!(Input),
    output: || schemars::json_schema!({ "type": "object", "properties": { "echo": { "type": "string" } } }),
    lane: Lane::Notify,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: false,
    targets: &[],
    permissions: &[],
    predict: |_| json!({ "echo": "" }),
};

impl Calls {
    fn speak(&self, word: &str, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let input: Input = serde_json::from_value(go.plan().before.clone()).unwrap();
        let value = cx.secrets.of(&input.token)?.expose();
        self.0.lock().unwrap().push(format!("{word} {value}"));
        match input.how.as_str() {
            "fails" => {
                Err(ActionError::GiveUp { why: format!("{value} is no good"), hint: Some(format!("not {value:?}")) })
            }
            "panics" => panic!("with {value} and {cx:?}"),
            _ => Ok(json!({ "echo": format!("as {value}, or {}", json!(value)), value: [value] })),
        }
    }
}

#[async_trait::async_trait]
impl Action for Calls {
    fn spec(&self) -> &'static ActionSpec {
        &CALL
    }

    async fn plan(&self, input: &Json) -> Result<Plan, ActionError> {
        let calls = vec![json!({ "POST": input })];
        Ok(Plan { calls, before: input.clone(), ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        self.speak("run", go, cx)
    }

    async fn verify(&self, _: &Plan, want: Want) -> Result<Truth, ActionError> {
        Ok(if want == Want::Acted { Truth::Holds } else { Truth::CannotAsk })
    }

    async fn undo(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        self.speak("undo", go, cx)
    }
}

struct Scene {
    stage: Stage,
    said: Arc<Mutex<Vec<String>>>,
    file: PathBuf,
    _keep: tempfile::TempDir,
}

/// A secret in a file, and a playbook of these steps.
fn scene(steps: &str) -> Scene {
    let text = format!("playbook: test\nmode: enforce\non: {{ detections: {{ level: low }} }}\nsteps:\n{steps}");
    let (read, mistakes) = playbook(Path::new("test.yaml"), &text, &Known { actions: vec![&CALL], ..Known::default() });
    let read = read.unwrap_or_else(|| panic!("{mistakes:?}"));
    let keep = tempfile::tempdir().unwrap();
    let file = keep.path().join("token");
    write(&file, VALUE);
    let secrets = BTreeMap::from([("token".into(), SecretFrom::File(file.clone()))]);
    let definitions = Definitions { secrets, ..definitions(read) };
    let said = Arc::default();
    let verbs = vec![Verb::Acts(Arc::new(Calls(Arc::clone(&said))))];
    let mut stage = stage_with(tempfile::tempdir().unwrap(), World::default(), definitions, verbs);
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    Scene { stage, said, file, _keep: keep }
}

fn write(file: &Path, value: &str) {
    std::fs::write(file, value).unwrap();
    std::fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}

impl Scene {
    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().unwrap())
    }

    fn ask(&mut self, request: Request) -> Json {
        let answer = self.stage.core.serve(request).unwrap();
        self.stage.settle();
        answer
    }
}

/// Everything below a directory, and whatever is told of its runs.
fn told(stage: &Stage) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut open = vec![stage.dir.path().to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.is_file() {
                all.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    assert!(all.iter().any(|(_, bytes)| bytes.windows(8).any(|part| part == b"api.call")), "the journal is among them");
    // What is packed in the files is read as well.
    let journal = &stage.journal;
    for (stream, _) in journal.streams().unwrap() {
        let records = journal.read(&stream, 1).unwrap();
        all.extend(records.iter().map(|record| (format!("{stream:?}"), format!("{record:?}").into_bytes())));
        all.extend(records.iter().map(|r| (format!("{stream:?}"), serde_json::to_vec(&r.body).unwrap())));
    }
    for run in stage.runs() {
        let view = report::run(journal, &run).unwrap().unwrap();
        all.push((format!("{run}"), serde_json::to_vec(&view).unwrap()));
        let playbook = &stage.core.definitions.playbooks[0];
        all.push((
            format!("test of {run}"),
            crate::trial::written(&view, playbook, &[&CALL], None).unwrap().into_bytes(),
        ));
        let incident = view.incident.unwrap();
        let explained = report::explain(journal, &incident, report::Wanted::default()).unwrap();
        all.push((format!("{incident}"), format!("{explained:?}").into_bytes()));
        let incident = report::incident(journal, &incident, report::Wanted::default()).unwrap();
        all.push(("incident".into(), format!("{incident:?}").into_bytes()));
    }
    all
}

fn holds(bytes: &[u8], value: &str) -> bool {
    let json = json!(value).to_string();
    let forms = [value.to_owned(), json[1..json.len() - 1].to_owned(), json!(json).to_string()];
    forms.iter().any(|form| bytes.windows(form.len()).any(|part| part == form.as_bytes()))
}

/// What panics print from now on, in all of this process.
fn printed() -> Arc<Mutex<Vec<String>>> {
    let printed = Arc::<Mutex<Vec<String>>>::default();
    let (others, into) = (std::panic::take_hook(), Arc::clone(&printed));
    std::panic::set_hook(Box::new(move |panic| {
        into.lock().unwrap().push(panic.to_string());
        others(panic);
    }));
    printed
}

#[test]
fn the_verb_has_the_value_and_nothing_that_is_kept_or_told_does() {
    let printed = printed();
    crate::run::hush_panics();
    drop(std::panic::catch_unwind(|| panic!("of something else")));
    let mut scene = scene(
        "  send: { action: api.call, with: { how: echoes, token: \"${{ secrets.token }}\" } }\n  \
         fail: { action: api.call, with: { how: fails, token: \"${{ secrets.token }}\" }, on_failure: continue }\n  \
         panic: { action: api.call, with: { how: panics, token: \"${{ secrets.token }}\" }, on_failure: continue }\n  \
         say: { needs: [send, fail, panic], tell: \"${{ steps.send.echo }} ${{ steps.fail.why }} ${{ steps.panic.why }}\" }\n\
         outputs: { all: \"${{ steps.send }}\" }\n",
    );
    scene.stage.core.detections([detection("7", 1)]);
    scene.stage.settle();
    let mut said = scene.said();
    said.sort_unstable();
    assert_eq!(said, vec![format!("run {VALUE}"); 3]);
    let run = scene.stage.runs()[0].clone();
    let view = report::run(&scene.stage.journal, &run).unwrap().unwrap();
    let told_of = serde_json::to_string(&view).unwrap();
    for part in [r#""token":{"secret":"token"}"#, "as ***, or", "*** is no good", "its code panicked", "with ***"] {
        assert!(told_of.contains(part), "no `{part}` in {told_of}");
    }
    let printed = printed.lock().unwrap().concat();
    assert!(printed.contains("of something else") && !printed.contains(VALUE), "{printed}");
    scene.ask(Request::Undo { way: socket(), run, step: Some("send".into()), by: "ann".into(), why: "enough".into() });
    assert_eq!(scene.said(), [format!("undo {VALUE}")]);
    for request in [Request::Status, Request::Stuck] {
        assert!(!holds(scene.ask(request).to_string().as_bytes(), VALUE));
    }
    for (place, bytes) in told(&scene.stage) {
        assert!(!holds(&bytes, VALUE), "{place}: {}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn it_is_read_in_the_moment_of_the_act() {
    let mut scene = scene(
        "  send: { action: api.call, with: { how: echoes, token: \"${{ secrets.token }}\" }, approve: { within: 1h } }\n",
    );
    scene.stage.core.detections([detection("7", 1)]);
    scene.stage.settle();
    assert!(scene.said().is_empty(), "nobody has said yes");
    write(&scene.file, "changed");
    let run = scene.stage.runs()[0].clone();
    let yes = AnswerGiven {
        run,
        step: None,
        item: None,
        choice: "approve".into(),
        plan: None,
        by: "ann".into(),
        via: "cli".into(),
        from: None,
        why: String::new(),
    };
    scene.ask(Request::Answer(Box::new(yes)));
    assert_eq!(scene.said(), ["run changed"]);
}

#[test]
fn one_that_cannot_be_read_fails_its_step_by_name_and_nothing_is_done() {
    let steps = "  send: { action: api.call, with: { how: echoes, token: \"${{ secrets.token }}\" } }\n";
    let why = |spoil: fn(&Scene)| {
        let mut scene = scene(steps);
        spoil(&scene);
        scene.stage.core.detections([detection("7", 1)]);
        scene.stage.settle();
        assert!(scene.said().is_empty());
        assert_eq!(scene.stage.only_story().last().unwrap(), "RunFinished failed");
        let view = report::run(&scene.stage.journal, &scene.stage.runs()[0]).unwrap().unwrap();
        assert!(!serde_json::to_string(&view).unwrap().contains("s3cr3t"));
        view.steps[0].errors[0].error.clone()
    };
    let gone = why(|scene| std::fs::remove_file(&scene.file).unwrap());
    assert!(
        gone.starts_with("the secret `token` cannot be read: there is no file at the path that its `file` gives"),
        "{gone}"
    );
    let open = why(|scene| std::fs::set_permissions(&scene.file, Permissions::from_mode(0o644)).unwrap());
    assert!(open.contains("hint: chmod 600"), "{open}");
}

#[test]
fn one_that_quell_yaml_does_not_have_is_told_so() {
    let mut scene = scene("  send: { action: api.call, with: { how: echoes, token: \"${{ secrets.other }}\" } }\n");
    scene.stage.core.detections([detection("7", 1)]);
    scene.stage.settle();
    let view = report::run(&scene.stage.journal, &scene.stage.runs()[0]).unwrap().unwrap();
    let error = &view.steps[0].errors[0].error;
    assert_eq!(error, "the secret `other` cannot be read: quell.yaml has no secret of that name");
    assert!(scene.said().is_empty());
}

#[test]
fn what_passes_no_check_gets_no_secret_either() {
    let with = json!({ "how": "${{ secrets.token }}", "token": "${{ secrets.token }}" });
    let forged = json!({ "how": "echoes", "token": "${{ event.process.forged }}" });
    let act = |id: &str, with| Step { kind: StepKind::Action { action: "api.call".into(), with }, ..step(id, &[]) };
    let tell = Step { kind: StepKind::Tell("${{ secrets.token }}".into()), ..step("tell", &[]) };
    let script = Expression { text: "#{ x: secrets.token }".into(), span: Default::default() };
    let script = Step { kind: StepKind::Script(script), ..step("script", &[]) };
    let condition = Some(Expression { text: "secrets.token != ()".into(), span: Default::default() });
    let asks = Step { condition, ..step("condition", &[]) };
    let steps = vec![act("text", with), act("forged", forged), tell, script, asks];
    let mut scene = scene("  a: { tell: x }\n");
    scene.stage.core.definitions.playbooks = vec![Arc::new(playbook_of(steps))];
    let mut detection = detection("7", 1);
    let mut event = OwnedEvent::clone(&detection.event);
    event.own["process"]["forged"] = json!({ "secret": "token" });
    detection.event = Arc::new(event);
    scene.stage.core.detections([detection]);
    scene.stage.settle();
    assert!(scene.said().is_empty());
    let view = report::run(&scene.stage.journal, &scene.stage.runs()[0]).unwrap().unwrap();
    assert_eq!(view.steps.len(), 5);
    for step in &view.steps {
        assert_eq!(step.outcome, Some(Outcome::Failed), "{step:?}");
        assert!(step.errors[0].error.contains("secret"), "{step:?}");
    }
}
