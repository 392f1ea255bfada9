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
use quell_engine::run::answers::{IncidentAcknowledged, IncidentUndoing, OfIncident};
use quell_engine::run::{Pressed, Request};
use quell_model::{IncidentId, LadderId, Name};
use serde::de::DeserializeOwned;

/// See the module.
pub(in crate::api) struct Said {
    incident: IncidentId,
    by: Name,
    via: Via,
    peer: PeerProcess,
    text: String,
    generation: Option<u32>,
    app: App,
}

impl FromRequest<App> for Said {
    type Rejection = Response;

    async fn from_request(mut request: HttpRequest, app: &App) -> Result<Self, Response> {
        type Of = (Path<IncidentId>, ConnectInfo<Caller>, Extension<Via>, Extension<PeerProcess>);
        let of = request.extract_parts::<Of>().await.map_err(IntoResponse::into_response)?;
        let (Path(incident), ConnectInfo(Caller(by)), Extension(via), Extension(peer)) = of;
        let Given(words) = Given::<Words>::from_request(request, app).await?;
        let (text, generation) = words.read().map_err(IntoResponse::into_response)?;
        Ok(Self { incident, by, via, peer, text, generation, app: app.clone() })
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
        let wants = what(self.incident.clone(), self.text, self.by.clone());
        let request = match self.generation {
            None => wants,
            Some(generation) => Request::Press(Box::new(Pressed {
                ladder: LadderId::incident(&self.incident),
                generation,
                link: None,
                by: self.by,
                via: self.via.0.into(),
                wants,
            })),
        };
        Ok(Json(self.app.ask(request).await?))
    }

    /// They hand it on.
    pub(super) async fn escalates(self) -> Result<Json<OfIncident>, Problem> {
        let via = Name::from(self.via.0);
        self.asks(|incident, why, by| Request::Escalate { incident, why, by, via }).await
    }

    /// They end it.
    pub(super) async fn resolves(self) -> Result<Json<OfIncident>, Problem> {
        let via = Name::from(self.via.0);
        self.asks(|incident, why, by| Request::Resolve { incident, why, by, via }).await
    }

    /// They open it again.
    pub(super) async fn reopens(self) -> Result<Json<OfIncident>, Problem> {
        let via = Name::from(self.via.0);
        self.asks(|incident, why, by| Request::Reopen { incident, why, by, via }).await
    }

    /// They want all taken back that its runs did.
    pub(super) async fn undoes(self) -> Result<Json<IncidentUndoing>, Problem> {
        let way = self.app.way(self.via, self.peer).await?;
        self.asks(|incident, why, by| Request::UndoIncident { incident, by, way, why }).await
    }

    /// They look after it, or no longer.
    pub(super) async fn acknowledges(self, acknowledged: bool) -> Result<Json<IncidentAcknowledged>, Problem> {
        let (via, generation) = (Name::from(self.via.0), self.generation);
        self.asks(|incident, why, by| Request::Acknowledge { incident, acknowledged, why, by, via, generation }).await
    }
}
