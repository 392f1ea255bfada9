# Who the parts of one cluster are to each other: its authority, their certificates, and a kubeconfig each, under DIR/keys.
# Good for a month; made anew with every cluster.
# shellcheck shell=bash

certificate() { # certificate FILE SUBJECT [NAMES]
    local more=()
    openssl ecparam -name prime256v1 -genkey -noout -out "$dir/keys/$1.key"
    openssl req -new -key "$dir/keys/$1.key" -subj "$2" -out "$dir/keys/$1.csr"
    printf 'keyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n' >"$dir/keys/$1.ext"
    [ -z "${3:-}" ] || printf 'subjectAltName=%s\n' "$3" >>"$dir/keys/$1.ext"
    more=(-CA "$dir/keys/ca.crt" -CAkey "$dir/keys/ca.key" -CAcreateserial)
    openssl x509 -req -sha256 -days 30 -in "$dir/keys/$1.csr" "${more[@]}" -extfile "$dir/keys/$1.ext" -out "$dir/keys/$1.crt" 2>/dev/null
    rm "$dir/keys/$1.csr" "$dir/keys/$1.ext"
}

kubeconfig() { # kubeconfig FILE KEYS SERVER
    cat >"$1" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: $group
  cluster:
    server: $3
    certificate-authority-data: $(base64 -w0 <"$dir/keys/ca.crt")
users:
- name: $2
  user:
    client-certificate-data: $(base64 -w0 <"$dir/keys/$2.crt")
    client-key-data: $(base64 -w0 <"$dir/keys/$2.key")
contexts:
- name: $group
  context: { cluster: $group, user: $2 }
current-context: $group
YAML
    chmod 600 "$1"
}

make_keys() {
    mkdir -p -m 700 "$dir/keys"
    openssl ecparam -name prime256v1 -genkey -noout -out "$dir/keys/ca.key"
    openssl req -x509 -new -sha256 -days 30 -key "$dir/keys/ca.key" -subj "/CN=$group" -out "$dir/keys/ca.crt"
    # What service accounts' tokens are signed with.
    openssl ecparam -name prime256v1 -genkey -noout -out "$dir/keys/sa.key"
    openssl ec -in "$dir/keys/sa.key" -pubout -out "$dir/keys/sa.pub" 2>/dev/null
    certificate apiserver /CN=kube-apiserver \
        "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$node_address,IP:10.96.0.1"
    certificate admin /O=system:masters/CN=admin
    certificate kubelet "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:$node_address"
    certificate kube-controller-manager /CN=system:kube-controller-manager
    certificate kube-scheduler /CN=system:kube-scheduler
    certificate kube-proxy /CN=system:kube-proxy
    local name
    for name in kubelet kube-controller-manager kube-scheduler kube-proxy; do
        kubeconfig "$dir/keys/$name.kubeconfig" "$name" https://127.0.0.1:6443
    done
    kubeconfig "$dir/admin.kubeconfig" admin "https://$node_address:6443"
}
