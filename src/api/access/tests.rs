//! The table against the API's own description, and every role against every route.

use super::super::caller::ROOT;
use super::*;
use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn;
use axum::routing::any;
use quell_model::Person;
use std::collections::BTreeSet;
use tower::ServiceExt;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nana.s:x:1000:1000::/:/bin/sh\nbo:x:1001:1001::/:/bin/sh\nana:x:1002:1002::/:/bin/sh\n";
const OWNER: u32 = 1009;

/// A person for each role, and `asked` with none.
fn access() -> Access {
    let roles = Roles::default();
    let mut people = People::default();
    for (at, role) in ["viewer", "responder", "approver", "admin", ""].into_iter().enumerate() {
        let name = if role.is_empty() { "asked" } else { role };
        let own = if role.is_empty() { BTreeSet::new() } else { BTreeSet::from([role.into()]) };
        let identities = [(System::Unix, (2000 + at).to_string())].into();
        people.people.insert(name.into(), Person { roles: own, identities, ..Person::default() });
    }
    let ana = Person { identities: [(System::Unix, "ana.s".to_owned())].into(), ..Person::default() };
    people.people.insert("ana".into(), ana);
    Access { people: Arc::new(people), roles, tokens: tokens(), owner: OWNER }
}

fn tokens() -> Vec<Token> {
    let token = |name: &str, role: &str, person: Option<&str>| Token {
        name: name.into(),
        role: role.into(),
        sha256: Hash::of(format!("secret of {name}").as_bytes()),
        person: person.map(Name::from),
    };
    vec![
        token("viewer", "viewer", None),
        token("responder", "responder", None),
        token("approver", "approver", None),
        token("admin", "admin", None),
        token("of-ana", "approver", Some("ana")),
        token("weak-of-ana", "responder", Some("ana")),
    ]
}

fn nobody_known() -> Access {
    Access { people: Arc::default(), roles: Roles::default(), tokens: tokens(), owner: OWNER }
}

/// What the gate says to a request of this uid, with handlers that say yes to everything.
async fn said(access: Access, uid: u32, method: &str, path: &str) -> StatusCode {
    asked(access, Peer::Uid(Some(uid)), "", method, path).await
}

async fn asked(access: Access, peer: Peer, header: &str, method: &str, path: &str) -> StatusCode {
    let access = Arc::new(access);
    let mut router = Router::new();
    let paths: BTreeSet<&str> = TABLE.iter().map(|(_, path, _)| *path).chain(["/a/new/route"]).collect();
    for path in paths {
        router = router.route(path, any(|| async { "done" }));
    }
    let router = router.layer(from_fn(move |request, next| check(Arc::clone(&access), request, next)));
    let mut request = Request::builder().method(method).uri(path.replace("{id}", "r-1")).body(Body::empty()).unwrap();
    if !header.is_empty() {
        request.headers_mut().insert("authorization", header.parse().unwrap());
    }
    request.extensions_mut().insert(ConnectInfo(peer));
    router.oneshot(request).await.unwrap().status()
}

/// Methods and paths as the API describes itself, with what each says that it wants.
fn routes() -> BTreeSet<(String, String, String)> {
    let document: serde_json::Value = serde_json::from_str(crate::api::document()).unwrap();
    let items = document["paths"].as_object().unwrap().iter();
    let operations = items.flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |one| (path, one)));
    operations
        .map(|(path, (verb, operation))| {
            (verb.to_uppercase(), path.clone(), operation["x-permission"].as_str().unwrap_or_default().to_owned())
        })
        .collect()
}

#[test]
fn every_route_has_its_permission_and_every_row_its_route() {
    let word = |need: &Need| match need {
        Need::May(permission) => permission.as_str().to_owned(),
        Need::Answer => ANSWER.to_owned(),
    };
    let rows: BTreeSet<(String, String, String)> =
        TABLE.iter().map(|(verb, path, need)| ((*verb).to_owned(), (*path).to_owned(), word(need))).collect();
    assert_eq!(rows.len(), TABLE.len(), "a row stands twice");
    assert!(rows.len() > 20);
    assert_eq!(routes(), rows, "the router's routes with what they say that they want, and the rows of the table");
}

#[tokio::test]
async fn each_role_at_each_route() {
    for (verb, path, need) in TABLE {
        for (at, role) in ["viewer", "responder", "approver", "admin", "asked"].into_iter().enumerate() {
            let may = match *need {
                Need::Answer | READ => true,
                Need::May(
                    Permission::Ack | Permission::Note | Permission::Resolve | Permission::Run | Permission::Undo,
                ) => role == "responder",
                Need::May(Permission::Pause | Permission::Mode | Permission::Config) => role == "admin",
                Need::May(other) => panic!("no role is said to have {other:?} here"),
            };
            let want = if may { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(said(access(), 2000 + at as u32, verb, path).await, want, "{role}: {verb} {path}");
        }
        assert_eq!(said(access(), 3000, verb, path).await, StatusCode::FORBIDDEN, "a stranger: {verb} {path}");
        assert_eq!(said(access(), 0, verb, path).await, StatusCode::OK, "root: {verb} {path}");
        assert_eq!(said(access(), OWNER, verb, path).await, StatusCode::OK, "who runs quell: {verb} {path}");
        assert_eq!(said(nobody_known(), 3000, verb, path).await, StatusCode::OK, "without people: {verb} {path}");
    }
}

#[tokio::test]
async fn each_token_at_each_route() {
    for (verb, path, need) in TABLE {
        for name in ["viewer", "responder", "approver", "admin", "of-ana", "weak-of-ana"] {
            let may = match *need {
                Need::Answer => name == "of-ana",
                READ => true,
                Need::May(
                    Permission::Ack | Permission::Note | Permission::Resolve | Permission::Run | Permission::Undo,
                ) => name.contains("responder") || name == "weak-of-ana",
                Need::May(Permission::Pause | Permission::Mode | Permission::Config) => name == "admin",
                Need::May(other) => panic!("no role is said to have {other:?} here"),
            };
            let want = if may { StatusCode::OK } else { StatusCode::FORBIDDEN };
            let header = format!("Bearer secret of {name}");
            for access in [access(), nobody_known()] {
                assert_eq!(asked(access, Peer::Network, &header, verb, path).await, want, "{name}: {verb} {path}");
            }
        }
        for header in [
            "",
            "Bearer ",
            "Bearer secret of nobody",
            "secret of admin",
            "Basic secret of admin",
            "Bearer  secret of admin",
        ] {
            for access in [access(), nobody_known()] {
                let said = asked(access, Peer::Network, header, verb, path).await;
                assert_eq!(said, StatusCode::UNAUTHORIZED, "{header}: {verb} {path}");
            }
        }
    }
    let named = |header: &str| {
        let by = By::token(&[(header::AUTHORIZATION, header.parse().unwrap())].into_iter().collect());
        access().known(by.unwrap()).unwrap().name.to_string()
    };
    assert_eq!(named("bearer secret of of-ana"), "ana");
    assert_eq!(named("Bearer secret of admin"), "token admin");
}

/// Whoever stays is held against what holds now, as whoever comes.
#[test]
fn a_pass_holds_as_long_as_what_it_was_given_for() {
    let token = |name: &str| By::Token(Hash::of(format!("secret of {name}").as_bytes()));
    let pass = |by: By| Pass { by, known: access().known(by).unwrap() };
    let (viewer, of_ana, person) = (pass(token("viewer")), pass(token("of-ana")), access().pass(2000));
    for pass in [&viewer, &of_ana, &person] {
        assert!(access().still(pass), "nothing has changed for them");
    }
    let changed = |change: &dyn Fn(&mut Access)| {
        let mut access = access();
        change(&mut access);
        [&viewer, &of_ana, &person].map(|pass| access.still(pass))
    };
    assert_eq!(
        changed(&|access| access.tokens.retain(|token| token.name.as_str() != "viewer")),
        [false, true, true],
        "revoked"
    );
    assert_eq!(changed(&|access| access.tokens[0].sha256 = Hash::of(b"another")), [false, true, true], "replaced");
    assert_eq!(changed(&|access| access.tokens[0].role = "admin".into()), [false, true, true], "another role");
    assert_eq!(
        changed(&|access| access.tokens[4].person = Some("viewer".into())),
        [true, false, true],
        "another person"
    );
    let gone = |access: &mut Access| drop(Arc::make_mut(&mut access.people).people.remove("viewer"));
    assert_eq!(changed(&gone), [true, true, false], "whoever is no person any more");
    assert!(!access().still(&nobody_known().pass(3000)), "without people all was open; now they are nobody");
    assert!(access().still(&nobody_known().pass(0)), "root stays");
}

#[tokio::test]
async fn what_has_no_row_is_closed() {
    let new = ("POST", "/a/new/route");
    assert_eq!(said(access(), 0, new.0, new.1).await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(said(nobody_known(), 0, new.0, new.1).await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(said(access(), 0, "DELETE", "/v1/runs").await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(said(access(), 0, "HEAD", "/v1/runs").await, StatusCode::OK);
    assert_eq!(said(access(), 0, "GET", "/nothing/here").await, StatusCode::NOT_FOUND);
    assert_eq!(said(access(), 3000, "GET", "/nothing/here").await, StatusCode::FORBIDDEN, "a stranger learns nothing");
}

#[test]
fn an_identity_makes_the_person_and_a_like_name_does_not() {
    let who = |uid| {
        let known = access().who(Peer::Uid(uid), PASSWD);
        (known.name.to_string(), known.standing)
    };
    assert_eq!(who(Some(1000)), ("ana".to_owned(), Standing::Person));
    assert_eq!(who(Some(1002)), ("ana (unverified)".to_owned(), Standing::Nobody), "a user that is called like her");
    assert_eq!(who(Some(2000)), ("viewer".to_owned(), Standing::Person), "by the number");
    assert_eq!(who(Some(0)), (ROOT.to_owned(), Standing::Operator));
    assert_eq!(who(Some(OWNER)), (format!("uid {OWNER} (unverified)"), Standing::Operator));
    assert_eq!(who(None), ("unknown".to_owned(), Standing::Nobody));
    let without = |uid| nobody_known().who(Peer::Uid(Some(uid)), PASSWD).name.to_string();
    assert_eq!([without(0), without(1002), without(77)], [ROOT, "ana", "uid 77"], "as it was without people");
}

#[test]
fn a_refusal_says_which_role_would_do() {
    let access = access();
    let viewer = Known { name: "viewer".into(), standing: Standing::Person };
    let refused = format!("{:?}", access.allow(&viewer, PAUSE).unwrap_err());
    assert!(refused.contains("no role of theirs has `pause`") && refused.contains("admin"), "{refused}");
}

#[test]
fn who_comes_by_another_way_may_what_the_route_wants() {
    let may = |person: &str, method: Method, route: &str| access().person_may(&person.into(), &method, route).is_ok();
    assert!(may("responder", Method::POST, "/v1/incidents/{id}/ack"));
    assert!(!may("viewer", Method::POST, "/v1/incidents/{id}/ack") && may("viewer", Method::GET, "/v1/incidents"));
    assert!(may("asked", Method::POST, "/v1/runs/{id}/answer"), "whose answer counts is the engine's to say");
    assert!(!may("admin", Method::POST, "/v1/incidents/{id}/undo"), "another permission than theirs");
    for nobody in ["root", ROOT, "", "nobody"] {
        assert!(!may(nobody, Method::GET, "/v1/incidents"), "{nobody}");
        assert!(!may(nobody, Method::POST, "/v1/runs/{id}/answer"), "{nobody}");
    }
    assert!(
        !may("responder", Method::POST, "/a/new/route") && !may("responder", Method::PUT, "/v1/incidents/{id}/ack")
    );
    let known = |identity| access().person(System::Unix, identity).map(|name| name.to_string());
    assert_eq!((known("ana.s").as_deref(), known("ana")), (Some("ana"), None));
    let open = nobody_known();
    assert!(
        open.person_may(&"ana".into(), &Method::GET, "/v1/incidents").is_err(),
        "without people nobody is somebody"
    );
}
