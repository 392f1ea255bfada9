//! What somebody says to an incident: which, who, which way, and their words.
//!
//! Owns what all routes share that take a person's words to an incident. Decides nothing: the engine does.

use super::super::access::Via;
use super::super::caller::PeerProcess;
use super::super::given::{Given, Words};
use super::super::problem::Problem;
use super::super::{App, Caller};
use axum::extract::{ConnectInfo, FromRequest, Path, Request as HttpRequest};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, RequestExt};
use quell_engine::run::Request;
use quell_engine::run::answers::{IncidentAcknowledged, IncidentUndoing, OfIncident};
use quell_model::{IncidentId, Name};
use serde::de::DeserializeOwned;

/// See the module.
pub(in crate::api) struct Said {
    incident: IncidentId,
    by: Name,
    via: Via,
    peer: PeerProcess,
    text: String,
    app: App,
}

impl FromRequest<App> for Said {
    type Rejection = Response;

    async fn from_request(mut request: HttpRequest, app: &App) -> Result<Self, Response> {
        type Of = (Path<IncidentId>, ConnectInfo<Caller>, Extension<Via>, Extension<PeerProcess>);
        let of = request.extract_parts::<Of>().await.map_err(IntoResponse::into_response)?;
        let (Path(incident), ConnectInfo(Caller(by)), Extension(via), Extension(peer)) = of;
        let Given(words) = Given::<Words>::from_request(request, app).await?;
        let text = words.text().map_err(IntoResponse::into_response)?;
        Ok(Self { incident, by, via, peer, text, app: app.clone() })
    }
}

impl Said {
    /// Whether there are no words.
    pub(super) fn is_silent(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Asks the engine for what is made of the incident, their words and who they are.
    pub(super) async fn asks<T: DeserializeOwned>(
        self,
        what: impl FnOnce(IncidentId, String, Name) -> Request,
    ) -> Result<Json<T>, Problem> {
        Ok(Json(self.app.ask(what(self.incident, self.text, self.by)).await?))
    }

    /// They hand it on.
    pub(super) async fn escalates(self) -> Result<Json<OfIncident>, Problem> {
        let via = Name::from(self.via.0);
        self.asks(|incident, why, by| Request::Escalate { incident, why, by, via }).await
    }

    /// They want all taken back that its runs did.
    pub(super) async fn undoes(self) -> Result<Json<IncidentUndoing>, Problem> {
        let way = self.app.way(self.via, self.peer).await?;
        self.asks(|incident, why, by| Request::UndoIncident { incident, by, way, why }).await
    }

    /// They look after it, or no longer.
    pub(super) async fn acknowledges(self, acknowledged: bool) -> Result<Json<IncidentAcknowledged>, Problem> {
        let via = Name::from(self.via.0);
        self.asks(|incident, why, by| Request::Acknowledge { incident, acknowledged, why, by, via, generation: None })
            .await
    }
}
