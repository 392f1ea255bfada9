//! Order, cycles, and how a graph looks.

use super::*;

fn ids(list: &[&str]) -> Vec<StepId> {
    list.iter().map(|id| StepId::from(*id)).collect()
}

fn graph(steps: &[(&str, &[&str])]) -> Result<Graph, Vec<Cycle>> {
    let steps: Vec<(StepId, Vec<StepId>)> = steps.iter().map(|(id, needs)| (StepId::from(*id), ids(needs))).collect();
    Graph::of(steps.iter().map(|(id, needs)| (id, needs.as_slice())))
}

#[test]
fn needs_come_first_and_else_the_file_decides() {
    let graph = graph(&[("z", &["b"]), ("a", &[]), ("b", &["a"]), ("c", &[])]).unwrap();
    let order: Vec<&str> = graph.order().map(StepId::as_str).collect();
    assert_eq!(order, ["a", "b", "z", "c"]);
    let above = |id: &str| graph.order().filter(|other| graph.is_ancestor(other, &id.into())).count();
    assert_eq!(["a", "b", "z", "c", "nobody"].map(above), [0, 1, 2, 0, 0]);
    assert!(graph.is_ancestor(&"a".into(), &"z".into()) && !graph.is_ancestor(&"z".into(), &"a".into()));
}

proptest::proptest! {
    #[test]
    fn who_ends_before_whom_is_what_the_needs_say(
        needs in proptest::collection::vec(0..1u32 << 12, 12),
        thin in proptest::bool::ANY,
    ) {
        // Of few needs there are long ways and several chains.
        let needs: Vec<u32> = needs.iter().map(|bits| if thin { bits & (bits >> 3) & (bits << 5) } else { *bits }).collect();
        let id = |at: usize| StepId::from(format!("s{at}").as_str());
        // Bit `n` of a step's number: it needs that step. Only earlier ones: no circle. The file has them the other way round.
        let of: Vec<(StepId, Vec<StepId>)> = (0..needs.len())
            .rev()
            .map(|at| (id(at), (0..at).filter(|need| needs[at] >> need & 1 == 1).map(id).collect()))
            .collect();
        let graph = Graph::of(of.iter().map(|(id, needs)| (id, needs.as_slice()))).unwrap();
        let mut above = vec![BTreeSet::new(); needs.len()];
        for at in 0..needs.len() {
            for need in (0..at).filter(|need| needs[at] >> need & 1 == 1) {
                let theirs: BTreeSet<usize> = above[need].clone();
                above[at].extend(theirs);
                above[at].insert(need);
            }
            for other in 0..needs.len() {
                assert_eq!(graph.is_ancestor(&id(other), &id(at)), above[at].contains(&other), "s{other} before s{at}");
            }
        }
    }
}

#[test]
fn cycles_are_printed_as_paths() {
    let cycles =
        graph(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"]), ("d", &["d"]), ("e", &["f"]), ("f", &["e"])]).unwrap_err();
    let mut paths: Vec<String> = cycles.iter().map(Cycle::path).collect();
    paths.sort();
    assert_eq!(paths, ["a → c → b → a", "d → d", "e → f → e"]);
}

#[test]
fn a_drawing_shows_who_waits_for_whom() {
    let text = "playbook: p\nmode: enforce\non: { detections: { rules: [r], level: high }, if: \"${{ event.node == \\\"n\\\" }}\" }\nsteps:
  freeze: { tell: x }
  evidence: { needs: [freeze], tell: y, on_failure: continue }
  kill: { needs: [evidence], tell: z, retry: { attempts: 3 } }
  isolate: { needs: [freeze], if: \"${{ event.pod != () }}\", tell: w }
  alone: { tell: \"a very long line that goes on and on and on until nobody would read it in a terminal\" }
  report: { needs: [kill, isolate], when: always, tell: v }
";
    let (playbook, mistakes) =
        crate::load::playbook(std::path::Path::new("p.yaml"), text, &crate::load::Known::default());
    let drawing = graph_text(&playbook.unwrap_or_else(|| panic!("{mistakes:?}")), None);
    assert!(drawing.lines().all(|line| line.chars().count() <= 80), "{drawing}");
    insta::assert_snapshot!(drawing);
}
