//! `kubernetes.suspend_cronjob`: a cron job starts no more jobs.
//!
//! Keeps true: jobs that it has started run on, and are named in the plan; undo lets it go on, unless it was suspended before.

use crate::CronJobRef;
use crate::PodRef;
#[cfg(feature = "client")]
use crate::{
    Cluster, OwnerKind,
    verbs::order::{before, input, order, to_json},
    verbs::written::{Named, change, read},
    workload,
};
#[cfg(feature = "client")]
use k8s_openapi::api::batch::v1::CronJob;
#[cfg(feature = "client")]
use quell_model::{Action, ActionContext, ActionError, Admitted, Json, Plan, Truth, Want};
use quell_model::{ActionSpec, Guarantee, Lane};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
#[cfg(feature = "client")]
use std::sync::Arc;

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "kubernetes.suspend_cronjob",
    summary: "lets a cron job start no more jobs",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Cloud,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: false,
    targets: &["cronjob", "pod"],
    permissions: with_owners![
        "kubernetes:get pods",
        "kubernetes:get cronjobs.batch",
        "kubernetes:patch cronjobs.batch"
    ],
    predict: |_| json!({ "suspended": true }),
};

/// Which cron job: one of both.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The cron job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cronjob: Option<CronJobRef>,
    /// A pod: the cron job whose job it is of is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
}

/// How it stands now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Whether it starts no more jobs.
    pub suspended: bool,
    /// Its jobs that ran then, and run on.
    pub running: Vec<String>,
}

/// What was decided when it was planned.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    cronjob: Named,
}

/// How it stood before.
#[cfg(feature = "client")]
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Before {
    suspended: bool,
}

#[cfg(feature = "client")]
fn is_suspended(found: &CronJob) -> bool {
    found.spec.as_ref().and_then(|spec| spec.suspend) == Some(true)
}

#[cfg(feature = "client")]
fn running(found: &CronJob) -> Vec<String> {
    let active = found.status.iter().flat_map(|status| status.active.iter().flatten());
    active.filter_map(|job| job.name.clone()).collect()
}

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct SuspendCronjob(pub(crate) Arc<Cluster>);

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for SuspendCronjob {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let Input { cronjob, pod } = input(json)?;
        let calls = self.0.calls(&SPEC);
        let owner = cronjob.map(|cronjob| cronjob.0);
        let found = workload::find(&calls, (pod.as_ref(), owner.as_ref()), &[OwnerKind::CronJob], "suspended").await?;
        let gone = || ActionError::give_up(format!("`{}` is gone", found.named.place()));
        let cronjob = read::<CronJob>(&calls, &found.named).await?.ok_or_else(gone)?;
        let runs = running(&cronjob);
        let mut still_open: Vec<String> =
            runs.iter().map(|job| format!("its job {job} runs on, with its pods")).collect();
        still_open.extend(found.set_back_by());
        let suspended = is_suspended(&cronjob);
        let would_fail = calls.missing(found.named.namespace.as_deref()).await;
        Ok(Plan {
            targets: vec![found.target(self.0.name(), 0)],
            already: suspended,
            calls: vec![to_json(&Order { call: SPEC.name.to_owned(), cronjob: found.named.clone() })],
            before: to_json(&Before { suspended }),
            predicted: to_json(&Output { suspended: true, running: runs }),
            still_open,
            would_fail,
        })
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let Order { cronjob, .. } = order(go.plan())?;
        let mut runs = Vec::new();
        let write = |found: &CronJob| {
            runs = running(found);
            (!is_suspended(found)).then(|| json!({ "spec": { "suspend": true } }))
        };
        change::<CronJob>(&self.0.calls(&SPEC), &cronjob, write).await?;
        Ok(to_json(&Output { suspended: true, running: runs }))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let (Order { cronjob, .. }, was): (Order, Before) = (order(plan)?, before(plan)?);
        let found = read::<CronJob>(&self.0.calls(&SPEC), &cronjob).await?;
        let place = cronjob.place();
        Ok(match (want, found.as_ref().map(is_suspended)) {
            (Want::Acted, None) => Truth::HoldsNot(format!("cron job `{place}` is gone")),
            (Want::Acted, Some(false)) => Truth::HoldsNot(format!("cron job `{place}` starts jobs")),
            (Want::Undone, Some(true)) if !was.suspended => {
                Truth::HoldsNot(format!("cron job `{place}` starts no jobs"))
            }
            _ => Truth::Holds,
        })
    }

    async fn undo(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let (Order { cronjob, .. }, was): (Order, Before) = (order(go.plan())?, before(go.plan())?);
        let calls = self.0.calls(&SPEC);
        if read::<CronJob>(&calls, &cronjob).await?.is_none() {
            return Ok(json!({ "suspended": false, "running": [], "gone": true }));
        }
        let mut runs = Vec::new();
        let write = |found: &CronJob| {
            runs = running(found);
            (is_suspended(found) && !was.suspended).then(|| json!({ "spec": { "suspend": false } }))
        };
        change::<CronJob>(&calls, &cronjob, write).await?;
        Ok(to_json(&Output { suspended: was.suspended, running: runs }))
    }
}

#[cfg(feature = "client")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jobs_that_run_on_are_named() {
        let of = |json: Json| serde_json::from_value::<CronJob>(json).unwrap();
        let found = of(json!({ "metadata": {}, "spec": { "schedule": "", "jobTemplate": {}, "suspend": false },
            "status": { "active": [{ "name": "backup-1" }, { "name": "backup-2" }] } }));
        assert_eq!(
            (running(&found), is_suspended(&found)),
            (vec!["backup-1".to_owned(), "backup-2".to_owned()], false)
        );
        assert!(running(&of(json!({ "metadata": {} }))).is_empty());
    }
}
