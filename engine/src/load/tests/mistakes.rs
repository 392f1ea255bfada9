//! Mistakes: what is said of each, and that all are said at once.

use super::{load, print};

/// What is said of a text.
fn said(text: &str) -> String {
    let (playbook, mistakes) = load(text);
    let errors = crate::playbook::has_errors(&mistakes);
    assert_eq!(playbook.is_none(), errors, "half loaded: {}", print(&mistakes));
    print(&mistakes)
}

const TWELVE: &str = r#"playbook: contain-shell
description: twelve mistakes
on:
  detections: { rules: [reverse-shel], level: hihg }
  max_age: 15
steps:
  kill-tree:
    action: proces.kill
    with: { process: "${{ event.proces.id }}" }
  look:
    nedes: [kill]
    action: process.capture
    with: { process: x, memry: true }
  end:
    needs: [lok, look]
    tell: "${{ evnt.node }} ${{ steps.look.exe_sha25 }} ${{ 1 + }}"
"#;

#[test]
fn twelve_mistakes_are_all_told() {
    let (playbook, mistakes) = load(TWELVE);
    assert!(playbook.is_none());
    assert_eq!(mistakes.len(), 12);
    insta::assert_snapshot!(said(TWELVE));
}

#[test]
fn every_kind_of_mistake_is_told() {
    let step = |body: &str| format!("playbook: p\nsteps:\n  s:\n    {}\n", body.replace('\n', "\n    "));
    let steps = |body: &str| format!("playbook: p\nsteps:\n  {}\n", body.replace('\n', "\n  "));
    let top = |body: &str| format!("playbook: p\n{body}\nsteps: {{ s: {{ tell: x }} }}\n");
    let rows: Vec<(&str, String)> = vec![
        ("empty", String::new()),
        ("no map", "- a\n".into()),
        ("syntax", "playbook: p\nsteps: { a: [ }\n".into()),
        ("flow braces", "playbook: p\nsteps: { s: { tell: x, if: ${{ event.x }} } }\n".into()),
        ("two documents", "playbook: p\n---\nplaybook: q\n".into()),
        ("nothing in it", "description: x\n".into()),
        ("a document that ends", "playbook: p\nsteps: { s: { tell: x } }\n---\n".into()),
        ("a list as a key", "playbook: p\nsteps:\n  ? [a]\n  : { tell: x }\n".into()),
        ("null as a key", "playbook: p\nsteps:\n  null: { tell: x }\n".into()),
        ("a merge of text", "playbook: p\nsteps: { s: { <<: [x], tell: y } }\n".into()),
        ("a tab behind a key", "playbook: p\nsteps:\n  s:\n    tell:\tx\n\tmode: observe\n".into()),
        ("a character that begins no text", step("tell: @me")),
        ("single quotes within single ones", step("if: '${{ event.node == 'x' }}'\ntell: y")),
        ("on is text", top("on: reverse-shell")),
        ("rules right in on", top("on: { rules: [reverse-shell], level: high }")),
        ("an action as a key", step("process.kill: { process: x }")),
        ("braces of others", step("if: \"{{ event.node == \\\"x\\\" }}\"\ntell: \"${ event.node }\"")),
        ("more braces of others", step("tell: \"on {{event.node}}, {{ not.ours }}\"")),
        ("a statement without its end", step("script: |\n  let x = 1\n  #{ a: x }")),
        ("duplicate key", top("mode: observe\nmode: enforce")),
        ("incident moment", top("on: { incident: openend }")),
        ("incident moments", top("on: { incident: [resolved, closed, resolved] }")),
        ("incident of none", top("on: { incident: [] }")),
        ("incident decides nothing", top("on: { incident: opened, run_per: \"${{ event.node }}\" }")),
        ("incident in a trigger", top("on: { incident: opened, if: '${{ incident.levle == \"high\" }}' }")),
        (
            "incident beside detections",
            top("on: { incident: opened, detections: { level: high }, if: \"${{ incident.by == () }}\" }"),
        ),
        ("incident without its moment", step("tell: \"${{ incident.moment }}\"")),
        ("schedule", top("on: { schedule: { cron: \"0 6 * * moon\", time_zone: Europe/Berlin } }")),
        ("schedule fields", top("on: { schedule: { cron: \"0 6 * *\" } }")),
        ("schedule never", top("on: { schedule: { cron: \"0 0 30 2 *\" } }")),
        ("schedule zone", top("on: { schedule: { cron: \"0 6 * * *\", time_zone: Europe/Berlln } }")),
        ("schedule without", top("on: { schedule: { time_zone: UTC, crom: x } }")),
        (
            "schedule has no event",
            "playbook: p\non: { schedule: { cron: \"0 6 * * *\" } }\nsteps:\n  a: { tell: \"${{ event.node }}\" }\n  \
             b: { tell: \"${{ event?.node }}\" }\n  c: { tell: \"${{ event.node }}\", if: \"${{ event != () }}\" }\n"
                .into(),
        ),
        ("schedule decides nothing", top("on: { if: true, max_age: 1h, schedule: { cron: \"0 6 * * *\" } }")),
        ("modes", top("mode: enforced")),
        ("manual", top("on: { manual: false }")),
        ("bad limits", top("limits: { runs: 20, targets: 5/h, hosts: 3 }")),
        ("bad inputs", top("inputs: { a: { type: text }, b: { type: integer, default: x }, c: {} }")),
        ("if without detections", top("on: { if: \"${{ true }}\" }")),
        ("all detections", top("on: { detections: {} }")),
        ("tags", top("on: { detections: { tags: [attack.t1059, attack.t1497] } }")),
        ("trigger sees no steps", top("on: { detections: { level: high }, if: \"${{ steps.s.outcome == inputs.x }}\" }")),
        ("two kinds", step("tell: x\nscript: y")),
        ("no kind", step("needs: []")),
        ("later kind", step("undo: x")),
        ("escalate", steps("a: { escalate: 2 }\nb: { escalate: { polcy: night, step: 0 } }\nc: { escalate: {} }\nd: { escalate: { policy: \"${{ vars.who }}\" } }")),
        ("escalate keys", step("escalate: night\nfor_each: [a, b]\ntimeout: 1m\nretry: { attempts: 2 }\nlease: { for: 1h }\napprove: {}")),
        ("wait", step("wait: 5m\ntimeout: 1m\nretry: { attempts: 2 }\nlease: { for: 1h }")),
        ("wait no time", step("wait: 5")),
        ("wait keys", step("wait: { until: { rule: [x], level: hihg }, timeot: 1m }\ndeadline: 1h")),
        ("wait for nothing", step("wait: { timeout: 1m }")),
        ("wait for all", step("wait: { until: {} }")),
        ("wait for rules", step("wait: { until: { rules: [reverse-shel], tags: [attack.t1497] } }")),
        ("seen", steps("a: { wait: { until: { if: \"${{ seen.evnt.node == seen.event.nod && seen.event.pod.name == item }}\" } } }\nb: { needs: [a], tell: \"${{ steps.a.sen }} ${{ seen.rule }} ${{ steps.a.seen?.event.node }}\" }")),
        ("with without action", step("tell: x\nwith: { a: 1 }")),
        ("keyword id", steps("case: { tell: x }\nsteps_2: { tell: x }\n9a: { tell: x }")),
        ("lease", step("tell: x\nlease: { for: 0s, at_end: never }")),
        ("approve", step("tell: x\napprove: { by: security, within: 0s, otherwise: keep }")),
        ("confirm", step("action: process.kill\nwith: { process: \"1.2.3@b\" }\nconfirm: { withn: 30m }")),
        ("ask", step("ask: { choices: [me, me, not me], otherwise: nobody, person: bo, not_via: [fax] }\nconfirm: {}")),
        ("ask without choices", step("ask: { question: \"${{ event.nobody }}?\", otherwise: no }")),
        ("answers", steps("a: { ask: { question: q, choices: [y, n], otherwise: n } }\nb: { tell: \"${{ steps.a.answr }}\", needs: [a] }")),
        ("retry", step("tell: x\nretry: { backoff: 2s..1s }")),
        ("deadline", step("tell: x\ntimeout: 1m\ndeadline: 10s")),
        ("parallel without list", step("tell: x\nmax_parallel: 3")),
        ("unbounded", step("for_each: ${{ event.process.args }}\ntell: ${{ item }}")),
        ("item outside", step("tell: ${{ item }}")),
        ("cycle", steps("a: { tell: x, needs: [c] }\nb: { tell: x, needs: [a] }\nc: { tell: x, needs: [b] }")),
        ("self", steps("a: { tell: x, needs: [a, b, b] }\nb: { tell: x }")),
        ("no ancestor", steps("a: { tell: x }\nb: { tell: \"${{ steps.a.outcome }} ${{ steps.b.outcome }} ${{ steps.aa.outcome }}\" }")),
        ("input types", step("action: process.capture\nwith: { process: [a], memory: maybe, max_bytes: -1 }")),
        ("input words", step("action: process.kill\nwith: { process: x, scope: tre }")),
        ("input missing", step("action: process.kill\nwith: { scope: tree }")),
        ("no input at all", step("action: process.kill")),
        ("no expression", step("tell: x\nif: event.process.uid == 0")),
        ("half an expression", step("tell: x\nif: not ${{ event.process.uid == 0 }}")),
        ("unclosed", step("tell: \"x ${{ event.node\"")),
        ("cut", step("tell: ${{ [1].map(|x| #{ y: x }) }}")),
        ("empty expression", step("tell: \"${{ }}\"")),
        ("script in braces", step("script: ${{ #{} }}")),
        ("script with a mistake", step("script: |\n  let x = 1;\n  let y = ;\n  #{}")),
        ("script names", step("script: |\n  let x = vars.corp_cidr;\n  let event = 1;\n  globb(x, inputs.y);\n  #{}")),
        ("secrets", step("tell: \"${{ secrets.x }} ${{ person_off(event.actor) }}\"")),
        ("absent", step("tell: \"${{ event.pod.name }} ${{ event.pod?.name }} ${{ event.node.name }}\"")),
        ("absent where it is asked", step("if: \"${{ event.pod.name == \\\"x\\\" }}\"\ntell: \"${{ event.pod.name }}\"")),
        ("absent and one of two asked", step("if: \"${{ event.pod?.name == \\\"x\\\" || event.container != () }}\"\ntell: \"${{ event.pod.name }} ${{ event.container.id }}\"")),
        ("absent where it is", step("if: \"${{ event.pod == () }}\"\ntell: \"${{ event.pod.name }} ${{ if event.pod == () { event.pod.name } else { event.pod.uid } }}\"")),
        ("absent and asked", step("if: \"${{ event.pod?.name == \\\"x\\\" && event.container != () }}\"\ntell: \"${{ event.pod.name }} ${{ event.container.id }}\"")),
        (
            "outputs of what ended badly",
            steps(
                "k: { action: process.kill, with: { process: x }, on_failure: continue }\n\
                 c: { script: \"#{ n: [1] }\", if: \"${{ event.node == \\\"x\\\" }}\" }\n\
                 a: { needs: [k, c], tell: \"${{ steps.k.killed.len() }} ${{ steps.k.killed?.len() ?? 0 }} ${{ steps.k.killed }} ${{ steps.c.n.len() }}\" }\n\
                 b: { needs: [a], when: always, tell: \"${{ steps.a.told.len() }} ${{ steps.a.why }} ${{ if steps.k.outcome == \\\"verified\\\" { steps.k.killed.len() } else { 0 } }}\" }\n\
                 d: { needs: [c], if: \"${{ event.node == \\\"x\\\" }}\", tell: \"${{ steps.c.n.len() }}\" }",
            ),
        ),
        ("schedule and its zone", top("on: { schedule: { cron: \"0 25 * * *\", time_zone: Europe/Berlln } }")),
        ("run", step("tell: \"${{ run.idd }} ${{ incident.id }} ${{ run.started }}\"")),
        ("each", steps("a: { for_each: [1, two], tell: x }\nb: { needs: [a], tell: \"${{ steps.a.items.len() }} ${{ steps.a.item }} ${{ steps.a.why }}\" }")),
        ("detection", step("tell: \"${{ detection.rul }} ${{ event.process.args.len() }}\"")),
        ("tell is no number", step("tell: 5")),
        ("outputs", "playbook: p\nsteps: { k: { action: process.kill, with: { process: x } } }\noutputs: { a: \"${{ steps.k.kiled }}\" }\n".into()),
        ("irreversible", "playbook: p\nmode: enforce\nsteps: { k: { action: process.kill, with: { process: x } } }\n".into()),
    ];
    let all: Vec<String> = rows.iter().map(|(name, text)| format!("== {name}\n{}", said(text))).collect();
    insta::assert_snapshot!(all.join("\n"));
}

/// What YAML cannot read is told by what whoever wrote it may have meant.
#[test]
fn what_is_no_yaml_is_told_with_what_may_be_meant() {
    for (text, expected) in [
        ("playbook: p\nsteps:\n\ts: { tell: x }\n", "blanks: YAML takes no tabs"),
        (
            "playbook: p\nsteps:\n  s:\n    tell: \"${{ event.node }}\"\n   needs: []\n",
            "the same indentation as what stands beside it",
        ),
        ("playbook: p\nsteps: { s: { tell: ${{ event.node }} } }\n", "an expression in quotes"),
        ("playbook: p\nsteps: { s: { tell: \"${{ event[\"node\"] }}\" } }\n", "`\\\"` for a quote within \"…\""),
        ("playbook: p\ndescription: kills: all of it\n", "text that holds `: ` in quotes"),
        ("playbook: p\ndescription: \"kills\n", "a quote at the end"),
        ("playbook: p\nsteps: *all\n", "`&name` before"),
        ("playbook: p\nsteps: { s: { needs: [k }, tell: x }\n", "for each `[` its `]`"),
        ("playbook: p\ndescription: \"kills\" all\n", "nothing behind the quote"),
        ("playbook: p\ndescription: \"C:\\q\"\n", "an escape that there is"),
    ] {
        let (none, mistakes) = load(text);
        assert!(none.is_none() && mistakes.len() == 1, "{text}: {mistakes:?}");
        let told = mistakes[0].expected.as_deref().unwrap_or_default();
        assert!(mistakes[0].what.starts_with("this is no YAML") && told.starts_with(expected), "{text}: {mistakes:?}");
    }
}
