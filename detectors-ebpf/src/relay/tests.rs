//! Who is found at the other end, over ends made by hand.

use super::*;

fn node(pid: u32, reads: &[u64], writes: &[u64], masters: &[u32], peer: Option<&str>) -> Node {
    Node {
        key: Key { pid, ticks: 1 },
        fds: Fds {
            reads: reads.iter().copied().collect(),
            writes: writes.iter().copied().collect(),
            masters: masters.iter().copied().collect(),
            ..Fds::default()
        },
        peer: peer.map(|p| p.parse().unwrap()),
    }
}

fn shell(stdio: [Stdio; 3]) -> Process {
    Process { stdio: stdio.into(), ..Process::blank(100, 10_000_000) }
}

fn pipe(inode: u64) -> Stdio {
    Stdio { kind: StdioKind::Pipe, inode, ..Stdio::default() }
}

fn pts(number: u32) -> Stdio {
    Stdio { kind: StdioKind::Char, rdev: (136 << 20) + number, ..Stdio::default() }
}

fn around(nodes: Vec<Node>) -> Around {
    Around { nodes, ..Around::default() }
}

fn pids(all: &Around, stdio: [Stdio; 3], target: Option<Key>) -> Vec<u32> {
    all.relayed(&shell(stdio), target).iter().map(|n| n.key.pid).collect()
}

#[test]
fn a_fifo_pipeline_leads_out_both_ways() {
    // cat f (1) | sh (100) | nc (2) > f : pipe 10 in, pipe 11 out, fifo 12 from nc to cat.
    let all = around(vec![node(1, &[12], &[10], &[], None), node(2, &[11], &[12], &[], Some("10.0.0.9:443"))]);
    assert_eq!(pids(&all, [pipe(10), pipe(11), pipe(11)], None), [2]);
}

#[test]
fn a_terminal_leads_to_the_holder_of_its_master() {
    let all = around(vec![node(1, &[], &[], &[3], None), node(2, &[], &[], &[7], Some("10.0.0.9:443"))]);
    assert_eq!(pids(&all, [pts(7), pts(7), pts(7)], None), [2]);
    assert!(pids(&all, [pts(3), pts(3), pts(3)], None).is_empty());
    assert!(pids(&all, [pts(7), pts(7), pts(7)], Some(Key { pid: 1, ticks: 1 })).is_empty());
}

#[test]
fn what_only_reads_from_the_network_is_not_relayed() {
    // curl (1) | sh (100) > terminal
    let all = around(vec![node(1, &[], &[10], &[], Some("10.0.0.9:443")), node(2, &[], &[], &[3], None)]);
    assert!(pids(&all, [pipe(10), pts(3), pts(3)], None).is_empty());
    assert!(pids(&all, [pts(3), pipe(10), pts(3)], None).is_empty());
}

#[test]
fn two_relays_are_told_input_first() {
    // nc (1) | sh (100) > terminal of another program (2)
    let mut all =
        around(vec![node(2, &[], &[], &[3], Some("10.0.0.8:22")), node(1, &[], &[10], &[], Some("10.0.0.9:443"))]);
    assert_eq!(pids(&all, [pipe(10), pts(3), pts(3)], None), [1, 2]);
    // curl (1) | sh (100) in a session of sshd (2)
    all.above.insert(Key { pid: 2, ticks: 1 });
    assert!(pids(&all, [pipe(10), pts(3), pts(3)], None).is_empty());
}

#[test]
fn a_process_that_holds_its_own_other_end_is_no_relay() {
    let mut own = node(100, &[10, 11], &[10, 11], &[], Some("10.0.0.9:443"));
    own.key = shell(Default::default()).key;
    assert!(pids(&around(vec![own]), [pipe(10), pipe(11), pipe(11)], None).is_empty());
}

#[test]
fn what_is_shared_by_inheritance_leads_nowhere() {
    // A program (1) drives a shell over pipes 10 and 11; its own output (12) is also open in who started it (2).
    let all = around(vec![node(1, &[11], &[10, 12], &[], None), node(2, &[], &[12], &[], Some("10.0.0.9:443"))]);
    assert!(pids(&all, [pipe(10), pipe(11), pipe(11)], None).is_empty());
}

#[test]
fn questions_stop_when_the_second_is_spent() {
    let allowance = Allowance::default();
    allowance.spent.set(ALLOWED + Duration::from_millis(1));
    assert_eq!(allowance.ask(5, true, || Some(2)), Some(2), "shells have more");
    assert_eq!(allowance.ask(5, false, || Some(1)), None);
    assert_eq!((allowance.take_refused(), allowance.take_refused()), (1, 0));
    assert_eq!(allowance.ask(1_000_000_005, false, || Some(1)), Some(1));
}

#[test]
fn answers_hold_for_a_moment_and_are_bounded() {
    let allowance = Allowance::default();
    let ends = |n: u64| [Some(End::Pipe(n)), None, None];
    for n in 0..2 * ANSWERS as u64 {
        allowance.keep(ends(n), 1, &[]);
    }
    assert_eq!(allowance.answers.borrow().len(), ANSWERS);
    assert_eq!(allowance.known(&ends(3), ANSWER_KEPT), Some(Vec::new()));
    assert_eq!(allowance.known(&ends(3), ANSWER_KEPT + 1), None);
    allowance.keep(ends(5_000), ANSWER_KEPT + 1, &[]);
    assert_eq!(allowance.answers.borrow().len(), 1);
}
