//! A collector of a test's own: an HTTP server that decodes what it is sent, and answers as it is told.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A span that came.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) span: Span,
    pub(super) resource: Vec<KeyValue>,
    /// The request's head.
    pub(super) head: String,
    /// It was taken.
    taken: bool,
}

/// See the module.
pub(super) struct Collector {
    pub(super) port: u16,
    sent: Arc<Mutex<Vec<Sent>>>,
    answer: Arc<AtomicU16>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// On this port; 0: any that is free.
    pub(super) fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sent, answer, end) =
            (Arc::<Mutex<Vec<Sent>>>::default(), Arc::new(AtomicU16::new(200)), Arc::<AtomicBool>::default());
        let of = (Arc::clone(&sent), Arc::clone(&answer), Arc::clone(&end));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if of.2.load(Ordering::SeqCst) {
                    return;
                }
                serve(&stream.unwrap(), &of.0, &of.1);
            }
        });
        Self { port, sent, answer, end, thread: Some(thread) }
    }

    /// Answers with this status from now on.
    pub(super) fn answer(&self, status: u16) {
        self.answer.store(status, Ordering::SeqCst);
    }

    /// What was taken.
    pub(super) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().iter().filter(|one| one.taken).cloned().collect()
    }

    /// What came, whether it was taken or not.
    pub(super) fn tried(&self) -> Vec<Span> {
        self.sent.lock().unwrap().iter().map(|one| one.span.clone()).collect()
    }

    /// Spans that came and were not taken.
    pub(super) fn refused(&self) -> usize {
        self.sent.lock().unwrap().iter().filter(|one| !one.taken).count()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn serve(stream: &TcpStream, sent: &Mutex<Vec<Sent>>, answer: &AtomicU16) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head).unwrap() > 2 {}
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    let status = answer.load(Ordering::SeqCst);
    for resource in request.resource_spans {
        let of = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let one = Sent { span, resource: of.clone(), head: head.clone(), taken: status == 200 };
            sent.lock().unwrap().push(one);
        }
    }
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
}

/// An attribute that is a text.
pub(super) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match attributes.iter().find(|pair| pair.key == key)?.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}
