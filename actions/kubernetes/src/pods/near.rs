//! A pod of this node as it is known without a question, where that is enough to judge by.
//!
//! Reads only what was told. Keeps true: it is told on the safe side. Of the ready replicas of its owner those alone are counted that are seen
//! here, now, and that are confirmed and not cut off; how many are wanted the cluster has said lately, or nobody has counted them. Nothing is
//! known while the watch is not live.

use super::Known;
use super::makers::Maker;
use crate::owner::Owners;
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use quell_model::Pod;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// See the module.
#[derive(Debug)]
pub(crate) struct Near {
    pub(crate) pod: Arc<Pod>,
    /// What owns it; bare: nothing does. The replicas are the wanted ones, and of the ready ones those that are seen here.
    pub(crate) owners: Owners,
}

impl Known {
    /// The pod of this node with that uid, unless too little is known of it. `cut_off`: whoever stands in for nobody.
    pub(crate) fn near(&self, uid: &str, cut_off: &BTreeSet<String>) -> Option<Near> {
        let pod = self.table().by_uid(uid).filter(|pod| self.is_live() && &*pod.uid == uid)?;
        let told = self.standing.told(uid)?;
        let Some(maker) = told.maker else { return Some(Near { pod, owners: Owners::default() }) };
        let now = Instant::now();
        let (mut owners, is_fresh) = self.confirmed(&pod, &maker, now)?;
        let top = owners.top()?;
        owners.replicas = match owners.replicas {
            Some((wanted, _)) if is_fresh => {
                let stands_in = |other: &str, maker: &Maker| {
                    let other = self.table().by_uid(other);
                    let of = other.and_then(|other| self.confirmed(&other, maker, now));
                    of.is_some_and(|(of, _)| of.top() == Some(top))
                };
                let others = self.standing.ready_in(&maker.namespace).into_iter();
                let others = others.filter(|(other, _)| **other != *uid && !cut_off.contains(&**other));
                let others = others.filter(|(other, maker)| stands_in(other, maker)).count();
                let ready = others + usize::from(told.ready);
                Some((wanted, u32::try_from(ready).unwrap_or(u32::MAX)))
            }
            Some(_) => {
                owners.uncounted = true;
                None
            }
            None => None,
        };
        Some(Near { pod, owners })
    }

    /// What is behind a pod's maker, as far as that confirms the pod; no chain: it does not. And whether the count is to be believed.
    fn confirmed(&self, pod: &Pod, maker: &Maker, now: Instant) -> Option<(Owners, bool)> {
        let (owners, is_fresh) = self.makers.of(maker, now)?;
        let labels = pod.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let metadata = ObjectMeta { name: Some(pod.name.to_string()), ..ObjectMeta::default() };
        let named = api::Pod { metadata, ..api::Pod::default() };
        Some((owners.confirmed(&maker.by, &named, &labels), is_fresh))
    }
}
