//! How an order comes into the kernel and out of it again: what both verbs do alike.
//!
//! Keeps true: what is entered is the cgroup that was planned (its directory's inode), whatever has its path later; an effect's
//! order is its own, and is taken back alone; processes that were moved are moved back once no order needs their cgroup. Who is moved is
//! looked for, moved and waited for beside the engine's thread.

use super::back;
use super::home::{Home, dir, number};
use super::moved;
use super::order::Order;
use super::origins::Origins;
use crate::process::Hands;
use crate::process::block_exec::{FOR, millis, number as id_of, owner};
use crate::process::cgroup::Paths;
use crate::process::pace::Pace;
use crate::span::Span;
use quell_model::{
    ActionContext, ActionError, Admitted, Cut, CutRule, CutSockets, CutStanding, CutTerms, Json, Plan, Truth, Want,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What stood before: what undo gives back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Before {
    /// Where the named one is who is moved, with all that it started.
    from: Option<String>,
    /// Where each of them is; of very many the first.
    #[serde(default)]
    from_each: Origins,
    /// Orders that stood on the cgroup already: they stay.
    stood: Vec<u64>,
}

/// For all who are to be moved: the kernel takes some 8 ms for each.
const MOVING: Duration = Duration::from_secs(10);
/// Of what goes on, so many are told one by one in a plan.
const FEW: usize = 8;

#[derive(Debug)]
pub(super) struct Cutting(pub(super) Arc<Hands>);

/// What is entered.
pub(super) struct What {
    pub(super) call: &'static str,
    pub(super) home: Home,
    pub(super) rule: CutRule,
    pub(super) lasting: Option<Span>,
    /// What it does not cover.
    pub(super) still_open: Vec<String>,
    pub(super) predicted: Json,
}

/// What was done.
pub(super) struct Done {
    pub(super) order: Order,
    pub(super) moved: u32,
    pub(super) destroyed: Vec<String>,
    pub(super) left: Vec<String>,
    pub(super) until: Option<String>,
    pub(super) id: u64,
}

impl Cutting {
    pub(super) fn cut(&self) -> Result<&dyn Cut, ActionError> {
        self.0.world.cut.as_deref().ok_or_else(|| ActionError::GiveUp {
            why: "there is no cut in this kernel".to_owned(),
            hint: Some("`quell doctor` says what it lacks".to_owned()),
        })
    }

    fn dir(&self, order: &Order) -> Result<PathBuf, ActionError> {
        dir(&self.0.world, &order.cgroup)
    }

    pub(super) fn plan(&self, what: What) -> Result<Plan, ActionError> {
        let cut = self.cut()?;
        let group = dir(&self.0.world, &what.home.path)?;
        let order = Order {
            call: what.call.to_owned(),
            cgroup: what.home.path.clone(),
            number: number(&group),
            moves: what.home.moves.clone(),
            rule: what.rule,
            for_ms: millis(what.lasting.as_ref().map_or(FOR, |span| span.0)),
            ends: what.lasting.is_some(),
        };
        let stood: Vec<CutStanding> = match order.number {
            Some(number) => {
                cut.all().map_err(ActionError::retry)?.into_iter().filter(|one| one.group == number).collect()
            }
            None => Vec::new(),
        };
        let mut calls = vec![serde_json::to_value(&order).expect("an order has string keys only")];
        let mut still_open = what.still_open;
        if order.number.is_some() && order.moves.is_none() {
            match cut.sockets(&group, &order.rule) {
                Ok(open) => {
                    calls.push(json!({ "call": "sock_destroy", "sockets": open.ends }));
                    still_open.extend(few(open.stays));
                }
                // It is cut off all the same: what it has open may be told when it is.
                Err(why) => {
                    calls.push(json!({ "call": "sock_destroy", "sockets": "what it has open by then" }));
                    still_open.push(format!("what it has open cannot be told: {why}"));
                }
            }
        } else {
            calls.push(json!({ "call": "sock_destroy", "sockets": "what they have open when they are moved" }));
        }
        // What goes on is detected too: a cut that has just begun is not begun anew for each. With the sockets of its own, what was
        // open when it began is ended.
        let now = boot_ns();
        let enough = now.saturating_add(order.for_ms.saturating_mul(1_000_000) / 10 * 9);
        let is_it =
            |one: &CutStanding| one.terms.rule == order.rule && one.unhooked.is_empty() && one.terms.until_ns >= enough;
        let is_quiet = calls[1]["sockets"].as_array().is_some_and(Vec::is_empty);
        let mut from_each = Origins::default();
        for stat in what.home.members.iter().filter(|_| order.moves.is_some()) {
            let paths = Paths::read(&self.0.world, stat.pid).ok().flatten();
            paths.as_ref().and_then(Paths::v2).map(|path| from_each.note(stat, path));
        }
        let before = Before {
            from: order.moves.as_ref().map(|moves| moves.from.clone()),
            from_each,
            stood: stood.iter().map(|one| one.terms.id).collect(),
        };
        Ok(Plan {
            targets: what.home.targets,
            calls,
            before: serde_json::to_value(before).expect("what stood before has string keys only"),
            predicted: what.predicted,
            still_open: still_open.into_iter().chain(what.home.unknown).collect(),
            would_fail: Vec::new(),
            already: is_quiet && stood.iter().any(is_it),
        })
    }

    fn terms(order: &Order, id: u64, owner: &str, now_ns: u64) -> CutTerms {
        CutTerms {
            id,
            label: order.cgroup.clone(),
            owner: owner.to_owned(),
            until_ns: now_ns.saturating_add(order.for_ms.saturating_mul(1_000_000)),
            rule: order.rule.clone(),
        }
    }

    /// Whether the cgroup is still the one that was planned.
    fn is_same(order: &Order, group: &std::path::Path) -> Result<(), ActionError> {
        match (order.number, number(group)) {
            (_, None) => Err(ActionError::give_up(format!("the cgroup `{}` is gone", order.cgroup))),
            (Some(planned), Some(now)) if planned != now => {
                Err(ActionError::give_up(format!("the cgroup `{}` is another one by now", order.cgroup)))
            }
            _ => Ok(()),
        }
    }

    /// What was admitted, as far as these hands may do it.
    pub(super) fn order(&self, go: &Admitted) -> Result<Order, ActionError> {
        self.0.may_do(go.plan())?;
        Order::of(go.plan())
    }

    pub(super) async fn run(&self, order: Order, cx: &ActionContext) -> Result<Done, ActionError> {
        beside(&order).await;
        let cut = self.cut()?;
        let group = self.dir(&order)?;
        let now = cx.clock.now();
        let id = id_of(cx);
        if order.moves.is_some() {
            moved::make(&order.cgroup, &group)?;
        }
        // The cut comes first: whoever is moved into it is cut off from that moment on.
        let entered = Self::is_same(&order, &group).and_then(|()| {
            let terms = Self::terms(&order, id, owner(cx), now.boot_ns);
            cut.enter(&group, &terms).map_err(ActionError::give_up)
        });
        let moved = match (entered, &order.moves) {
            (Ok(()), Some(moves)) => {
                // So that it ends by itself, and takes back what it began, before its attempt is cut short.
                let left = Duration::from_nanos(cx.deadline.boot_ns.saturating_sub(now.boot_ns));
                let pace = Pace::no_longer_than(MOVING.min(left / 2));
                moved::bring(&self.0, moves, (&order.cgroup, &group), pace).await
            }
            (entered, _) => entered.map(|()| 0),
        };
        let moved = match moved {
            Ok(moved) => moved,
            // Half a cut is none: the step says that it failed, and everybody is where they were.
            Err(error) => return Err(self.halved(cut, &order, id, error).await),
        };
        // The order is in force, and stays so: what of the open sockets cannot even be told is told as that.
        let sockets = cut.destroy(&group, &order.rule);
        let sockets = sockets.unwrap_or_else(|why| CutSockets { destroyed: Vec::new(), left: vec![why] });
        Ok(Done {
            moved,
            destroyed: sockets.destroyed,
            left: sockets.left,
            until: order.ends.then(|| now.after(Duration::from_millis(order.for_ms)).wall.to_string()),
            id,
            order,
        })
    }

    /// Takes back what was begun, and gives the error that says so.
    async fn halved(&self, cut: &dyn Cut, order: &Order, id: u64, error: ActionError) -> ActionError {
        let stays = match self.take_back(cut, order, &Origins::default(), id).await {
            Ok((_, _, stays)) => stays,
            Err(error) => vec![error.to_string()],
        };
        if stays.is_empty() {
            return error;
        }
        let and = format!("; some of it stays: {}", stays.join("; "));
        match error {
            ActionError::GiveUp { why, hint } => ActionError::GiveUp { why: why + &and, hint },
            ActionError::Retry { after, why } => ActionError::Retry { after, why: why + &and },
            ActionError::Unknown { why } => ActionError::Unknown { why: why + &and },
        }
    }

    /// Takes the order out, and brings back whoever was moved for it or is left by another that is over; gives whether it stood, how
    /// many were moved back, and what stays all the same.
    async fn take_back(
        &self,
        cut: &dyn Cut,
        order: &Order,
        known: &Origins,
        id: u64,
    ) -> Result<(bool, u32, Vec<String>), ActionError> {
        let stood = cut.remove(id).map_err(ActionError::retry)?;
        let group = self.dir(order)?;
        let mut still = Vec::new();
        let all = cut.all().map_err(ActionError::retry)?;
        let others: Vec<&CutStanding> = all.iter().filter(|one| Some(one.group) == number(&group)).collect();
        for other in &others {
            let whose =
                if other.terms.owner.is_empty() { "somebody".to_owned() } else { format!("run {}", other.terms.owner) };
            still.push(format!("`{}` is cut all the same, by {whose}", order.cgroup));
        }
        let back = back::around(&self.0.world, &group, known, &|group| cut.holds(group)).await;
        still.extend(back.stays);
        Ok((stood, back.moved, still))
    }

    fn find(&self, cut: &dyn Cut, order: &Order, id: Option<u64>) -> Result<Option<CutStanding>, ActionError> {
        let group = number(&self.dir(order)?);
        let now = boot_ns();
        let all = cut.all().map_err(ActionError::retry)?.into_iter();
        let mut its = all.filter(|one| Some(one.group) == group && one.terms.until_ns > now);
        Ok(its.find(|one| id.map_or(one.terms.rule == order.rule, |id| one.terms.id == id)))
    }

    pub(super) async fn verify(&self, order: &Order, want: Want) -> Result<Truth, ActionError> {
        beside(order).await;
        let cut = self.cut()?;
        let stands = self.find(cut, order, None)?;
        let Some(stands) = stands else {
            return Ok(match want {
                Want::Acted => Truth::HoldsNot(format!("nothing cuts `{}`", order.cgroup)),
                Want::Undone => Truth::Holds,
            });
        };
        if want == Want::Undone {
            // Whoever's it is: while another's of the same rule stands, what it is for is so.
            return Ok(Truth::HoldsNot(format!("`{}` is cut", order.cgroup)));
        }
        if !stands.unhooked.is_empty() {
            return Ok(Truth::HoldsNot(format!("`{}` has no hook for {}", order.cgroup, stands.unhooked.join(", "))));
        }
        // The order stands before anybody is moved: whoever was to be, and is not, is not cut off.
        if let Some(moves) = &order.moves
            && let Some((one, _)) = moved::outside(&self.0, moves, &order.cgroup).await?.first()
        {
            return Ok(Truth::HoldsNot(format!("{} is not in `{}`", one.stat.label(), order.cgroup)));
        }
        let group = self.dir(order)?;
        match cut.sockets(&group, &order.rule) {
            Ok(open) => {
                let all = open.ends.len() + open.stays.len();
                if let Some(one) = open.ends.first().or(open.stays.first()) {
                    return Ok(Truth::HoldsNot(format!("{all} sockets of it are open still: {one}")));
                }
            }
            Err(why) => {
                tracing::info!(cgroup = order.cgroup, why, "a cut is in force, and what it has open cannot be told");
                return Ok(Truth::CannotAsk);
            }
        }
        Ok(match cut.probe(&group, stands.terms.id) {
            Ok(None) => Truth::Holds,
            Ok(Some(why)) => {
                tracing::info!(cgroup = order.cgroup, why, "a cut is in force, and could not be tried");
                Truth::CannotAsk
            }
            Err(why) => Truth::HoldsNot(why),
        })
    }

    pub(super) fn verify_undone(&self, order: &Order, cx: &ActionContext) -> Result<Truth, ActionError> {
        let cut = self.cut()?;
        let stands = cut.standing(id_of(cx)).map_err(ActionError::retry)?;
        Ok(match stands {
            Some(_) => Truth::HoldsNot(format!("`{}` is cut", order.cgroup)),
            None => Truth::Holds,
        })
    }

    /// `before` is what the plan of the order says stood before.
    pub(super) async fn undo(&self, order: &Order, before: &Json, cx: &ActionContext) -> Result<Json, ActionError> {
        beside(order).await;
        let known = Before::deserialize(before).unwrap_or_default().from_each;
        let cut = self.cut()?;
        let id = id_of(cx);
        let dropped = cut.standing(id).map_err(ActionError::retry)?.map(|one| one.dropped);
        let (removed, moved, still) = self.take_back(cut, order, &known, id).await?;
        let mut output = json!({ "cgroup": order.cgroup, "removed": removed, "moved_back": moved, "dropped": dropped });
        if !still.is_empty() {
            output["still"] = still.join("; ").into();
        }
        Ok(output)
    }

    pub(super) fn ends_after(plan: &Plan) -> Option<Duration> {
        let order = Order::of(plan).ok().filter(|order| order.ends)?;
        Some(Duration::from_millis(order.for_ms))
    }

    /// What cuts off again what a former plan did, where it stands no more: the very cgroup, or, `by_path`, whatever has its path
    /// by now, as after a boot.
    pub(super) async fn again(
        &self,
        call: &'static str,
        former: &Plan,
        lasting: Option<Span>,
        by_path: bool,
    ) -> Result<Plan, ActionError> {
        let order = Order::of(former)?;
        let is_it = match (order.number, number(&self.dir(&order)?)) {
            (_, None) => false,
            (Some(planned), Some(now)) => planned == now || by_path,
            // It was made for this: its name says for whom.
            (None, Some(_)) => true,
        };
        if !is_it {
            return Err(ActionError::give_up(format!("what was cut off as `{}` is there no more", order.cgroup)));
        }
        let home = if order.cgroup == "/" { Home::host(&self.0)? } else { Home::at(&self.0, &order.cgroup).await? };
        self.plan(What {
            call,
            home: Home { moves: order.moves, ..home },
            rule: order.rule,
            lasting,
            still_open: former.still_open.clone(),
            predicted: former.predicted.clone(),
        })
    }

    pub(super) fn hold(&self, order: Order, cx: &ActionContext, lasting: Duration) -> Result<(), ActionError> {
        let cut = self.cut()?;
        let group = self.dir(&order)?;
        Self::is_same(&order, &group)?;
        let order = Order { for_ms: millis(lasting), ..order };
        let terms = Self::terms(&order, id_of(cx), owner(cx), cx.clock.now().boot_ns);
        cut.enter(&group, &terms).map_err(ActionError::give_up)
    }
}

/// Where processes were moved, or are to be: leaves the engine's thread.
async fn beside(order: &Order) {
    if order.moves.is_some() || order.cgroup.contains(moved::NAME) {
        Pace::begin().beside().await;
    }
}

/// The first few of them, and how many more.
fn few(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(FEW);
    lines.truncate(FEW);
    if more > 0 {
        lines.push(format!("and {more} more sockets"));
    }
    lines
}

/// This moment on the boot clock.
pub(super) fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
