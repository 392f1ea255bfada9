//! What stands where an API server would: one that answers as a test says, and a way to a real one that can be cut.
//!
//! Owns two listeners on this machine's loopback. Each ends with its value.

use quell_model::Json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a stub answers.
pub(crate) enum Reply {
    /// A status and a body.
    Json(u16, Json),
    /// 429 with so many seconds in its header, and a text, as priority and fairness answer.
    Busy(u32, &'static str),
    /// A watch that tells these, and then stays.
    Watch(Vec<Json>),
    /// A watch that tells these, and ends.
    WatchEnds(Vec<Json>),
}

type Answers = dyn Fn(&str) -> Reply + Send + Sync;

/// A server that answers as it is told; it knows no TLS.
pub(crate) struct Stub {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Stub {
    /// `answers` is given each request's path with its query.
    pub(crate) async fn new(answers: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, answers): (_, Arc<Answers>) = (listener.local_addr().unwrap(), Arc::new(answers));
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (mut serving, told) = (JoinSet::new(), Arc::clone(&asked));
        serving.spawn(async move {
            let mut all = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                all.spawn(serve(stream, Arc::clone(&answers), Arc::clone(&told)));
            }
        });
        Self { address, asked, _serving: serving }
    }

    /// What it was asked, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// A kubeconfig that leads there.
    pub(crate) fn kubeconfig(&self, dir: &Path) -> PathBuf {
        let file = dir.join("stub.kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{ name: c, cluster: {{ server: \"http://{}\" }} }}]\nusers: [{{ name: u, user: {{}} }}]\n\
             contexts: [{{ name: x, context: {{ cluster: c, user: u }} }}]\ncurrent-context: x\n",
            self.address
        );
        std::fs::write(&file, text).unwrap();
        file
    }
}

/// One connection; its requests have no bodies.
async fn serve(mut stream: TcpStream, answers: Arc<Answers>, asked: Arc<Mutex<Vec<String>>>) {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let mut part = [0; 4096];
            match stream.read(&mut part).await {
                Ok(0) | Err(_) => return,
                Ok(n) => read.extend_from_slice(&part[..n]),
            }
        };
        let head: Vec<u8> = read.drain(..end).collect();
        let path = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned();
        asked.lock().unwrap().push(path.clone());
        let (written, ends) = match answers(&path) {
            Reply::Json(status, body) => {
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                (stream.write_all(format!("{head}{body}").as_bytes()).await, None)
            }
            Reply::Busy(seconds, text) => {
                let head = format!(
                    "HTTP/1.1 429 X\r\ncontent-type: text/plain\r\nretry-after: {seconds}\r\ncontent-length: {}\r\n\r\n",
                    text.len()
                );
                (stream.write_all(format!("{head}{text}").as_bytes()).await, None)
            }
            Reply::Watch(events) => (tell(&mut stream, &events).await, Some(false)),
            Reply::WatchEnds(events) => (tell(&mut stream, &events).await, Some(true)),
        };
        match (written, ends) {
            (Err(_), _) => return,
            (Ok(()), Some(true)) => {
                if stream.write_all(b"0\r\n\r\n").await.is_err() {
                    return;
                }
            }
            // Until the client goes.
            (Ok(()), Some(false)) => return drop(stream.read(&mut [0; 1]).await),
            (Ok(()), None) => {}
        }
    }
}

async fn tell(stream: &mut TcpStream, events: &[Json]) -> std::io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        .await?;
    for event in events {
        let line = format!("{event}\n");
        stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await?;
    }
    Ok(())
}

/// A way to a real API server that can be cut: TLS passes through it.
pub(crate) struct Way {
    /// A kubeconfig that goes by it.
    pub(crate) kubeconfig: PathBuf,
    to: String,
    address: SocketAddr,
    open: Option<JoinSet<()>>,
}

impl Way {
    /// The same cluster as this kubeconfig's.
    pub(crate) async fn to(kubeconfig: &Path, dir: &Path) -> Self {
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        let after = text.split_once("https://").expect("it names a server").1;
        let to = after.split(['\n', '"', '\'', ' ', ',', '}']).next().unwrap().trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mine = dir.join("way.kubeconfig");
        std::fs::write(&mine, text.replace(&to, &address.to_string())).unwrap();
        let mut way = Self { kubeconfig: mine, to, address, open: None };
        way.serve(listener);
        way
    }

    fn serve(&mut self, listener: TcpListener) {
        let to = self.to.clone();
        let mut all = JoinSet::new();
        all.spawn(async move {
            let mut each = JoinSet::new();
            while let Ok((mut here, _)) = listener.accept().await {
                let to = to.clone();
                each.spawn(async move {
                    if let Ok(mut there) = TcpStream::connect(&to).await {
                        // Ends as either of them ends.
                        drop(copy_bidirectional(&mut here, &mut there).await);
                    }
                });
            }
        });
        self.open = Some(all);
    }

    /// Nobody gets through, and what was open is closed.
    pub(crate) fn cut(&mut self) {
        self.open = None;
    }

    /// It is open again.
    pub(crate) async fn open(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }
}
