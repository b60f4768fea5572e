//! Common fields of Kubernetes and of charts that are no secrets, and texts that only look like it.

use crate::redact::{is_secret, secrets};
use crate::yaml::{Path, Tree, Value};

const FIELDS: &str = r#"
volumes:
- name: all
  projected:
    defaultMode: 0400
    sources:
    - secret: {name: tls, items: [{key: tls.key, path: private/tls.key, mode: 0400}, {key: ca.crt, path: ca.crt}]}
    - configMap: {name: c, items: [{key: app.yaml, path: app.yaml}]}
    - serviceAccountToken: {audience: vault, expirationSeconds: 3600, path: token}
    - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
- name: keys
  secret: {secretName: opschain-keys, optional: true, items: [{key: primary, path: primary}]}
- csi: {driver: secrets-store.csi.k8s.io, volumeAttributes: {secretProviderClass: vault-keys}, nodePublishSecretRef: {name: creds}}
env:
- {name: PGPASSWORD, valueFrom: {secretKeyRef: {name: opschain-db, key: password, optional: false}}}
- {name: TOKEN, valueFrom: {configMapKeyRef: {name: c, key: token}}}
envFrom: [{secretRef: {name: opschain-env}}]
imagePullSecrets: [{name: regcred}]
serviceAccountName: opschain-api
automountServiceAccountToken: false
secrets: [{name: opschain-token-x1}]
topologySpreadConstraints: [{topologyKey: topology.kubernetes.io/zone, matchLabelKeys: [pod-template-hash]}]
tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 30}, {key: gpu}]
nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a]}]}]
taints: [{key: dedicated, value: db, effect: NoSchedule}]
securityContext: {seccompProfile: {type: RuntimeDefault}, capabilities: {drop: [ALL]}, fsGroup: 26}
tls: [{hosts: [a.example.com], secretName: a-tls}]
ingressClassName: nginx
certificate:
  secretName: a-tls
  privateKey: {algorithm: ECDSA, size: 256, rotationPolicy: Always, encoding: PKCS8}
  keystores: {jks: {create: true, passwordSecretRef: {name: jks, key: password}}}
  usages: [digital signature, key encipherment]
  issuerRef: {name: ca, kind: ClusterIssuer}
  secretTemplate: {annotations: {a: b}}
acme: {email: a@b.c, privateKeySecretRef: {name: acme-key}, solvers: [{dns01: {route53: {secretAccessKeySecretRef: {name: r53, key: secret-access-key}}}}]}
externalSecret:
  refreshInterval: 1h
  secretStoreRef: {name: vault, kind: ClusterSecretStore}
  target: {name: opschain-db, creationPolicy: Owner}
  data: [{secretKey: password, remoteRef: {key: opschain/db, property: password, version: v1}}]
  dataFrom: [{extract: {key: opschain/all}}]
auth: {enabled: true, existingSecret: opschain-auth, existingSecretPasswordKey: password, secretKeys: {adminPasswordKey: admin, userPasswordKey: user}, usePasswordFiles: false, method: scram}
pgHba: {auth: scram-sha-256}
tokenReview: {audiences: [vault]}
tokenTTL: 24h
tokenExpiration: 3600
tokenSource: kubernetes
passwordPolicy: strong
passwordMinLength: 12
passwordHashing: argon2id
passwordEncoder: bcrypt
keyFile: /etc/tls/tls.key
keyPath: /etc/tls/tls.key
privateKeyPath: /etc/tls/tls.key
sshKeySecret: {name: x, key: id}
secretsDriver: vault
keyAlgorithm: ed25519
keySize: 4096
keyUsages: [sign]
cacheKey: a
publicKey: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1k2l3m4n5o6p7q8r9s0t1u2v3w4x5y6z7A8B9C0D1E
rbac: {rules: [{apiGroups: [''], resources: [secrets, serviceaccounts/token], verbs: [get]}]}
hpa: {metrics: [{type: Resource, resource: {name: cpu}}]}
csrf: {enabled: true}
oauth: {clientId: opschain, issuer: 'https://id.example.com/realms/main', scopes: 'openid profile', tokenEndpoint: 'https://id.example.com/token', authorizationEndpoint: 'https://id.example.com/auth'}
sessionAffinity: ClientIP
encryption: {secretboxes: 1}
command: [sh, -c, 'exec pgbouncer /etc/pgbouncer/pgbouncer.ini']
args: [--port, '5432', -p, '8080', --tls-private-key-file, /etc/tls/tls.key, --token-ttl, 1h]
ports: [{name: https, containerPort: 8443}]
image: {repository: registry.example.com/opschain/api, digest: 'sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08', pullPolicy: IfNotPresent}
annotations: {checksum/secret: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
storageClassName: premium-rwo
kms: {keyId: 'arn:aws:kms:eu-west-1:123456789012:key/123e4567-e89b-42d3-a456-426614174000', keyRing: main, keyArn: 'arn:aws:kms:x'}
smtp: {auth: login, authMechanism: PLAIN}
network: {privateIP: 10.0.0.1, privateSubnets: [subnet-1], privateDns: x, caKey: ca.crt, indexKey: id}
volumeMounts: [{name: data, mountPath: /var/lib/opschain/data/9f86d081884c, subPath: releases/2026-08-20}]
keepalives: 1
podAntiAffinityPreset: soft
keysOfEntries: {adminTokenKey: my-entry-name-17, apiTokenKey: api-token, tokenKey: token, tlsKey: tls.key, smtpPasswordSecretKey: smtp-password, hashKey: id, routingKey: orders, s3Key: backups/db, fileKey: values.yaml, messageKey: body.text, secretDataKey: data, uriKey: uri, licenseKeyKey: my-entry-name-17}
signing: {signature_algorithm: sha256WithRSAEncryption, hmac: sha256, ciphers: [ECDHE-RSA-AES256-GCM-SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]}
licenses: {license: Apache-2.0, other: {license: MIT}, licence: GPLv3}
authProxy: http://proxy:3128
secretEngine: kv-v2
kmsKeyId: alias/x
aws: {vpcId: vpc-0a1b2c3d4e5f67890, subnets: [subnet-0a1b2c3d4e5f67890, subnet-9f8e7d6c5b4a32109], ami: ami-0a1b2c3d4e5f67890, sg: sg-0a1b2c3d4e5f67890, fs: fs-0a1b2c3d4e5f67890}
git: {revision: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b, gitCommit: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b, image: {tag: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b}}
sums: {checksum: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
compose: {secrets: [opschain-db, db_password, tls]}
consul: {encrypt: true, encryptVerify: aes256}
livenessProbe: {exec: {command: [pg_isready, -U, postgres, -h, 127.0.0.1, -p, '5432']}}
"#;

#[test]
fn fields_that_name_secrets_or_say_something_about_them_are_shown() {
    let tree = Tree::parse(FIELDS.as_bytes()).unwrap();
    let found: Vec<String> = secrets(&tree)
        .iter()
        .filter(|(path, ..)| !path.to_string().starts_with("annotations"))
        .map(|(path, node, why)| format!("{path} {} {why:?}", tree.raw(node).trim()))
        .collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn texts_that_only_speak_of_secrets_are_shown() {
    let harmless = [
        "set the password in the Secret opschain-db",
        "Use --token to sign in, and --password for the database.",
        "password: the one of the database",
        "Basic Authentication is off",
        "Bearer Authentication",
        "a token of the API is needed: see the guide",
        "kubectl get secret opschain-db -o yaml",
        "kubectl create secret generic opschain-db --from-file=values.yaml",
        "psql -h db -p 5432 -U postgres",
        "docker run -p 8080:80 -u 1000:1000 image",
        "mysql -u root -p db",
        "ssh -p 2222 me@host",
        "ssl_certificate_key /etc/nginx/tls.key;\nauth_basic_user_file /etc/nginx/htpasswd;\n",
        "PasswordAuthentication no\nPubkeyAuthentication yes\nAuthorizedKeysFile .ssh/authorized_keys\n",
        "2001:0:ce49:7601:e866:efff:62c3:fffe",
        "aa:11:bb:cc:dd:ee",
        "12:30:45.123",
        "arn:aws:iam::123456789012:role/opschain",
        "registry.example.com:5000/opschain/api:1.2.3",
        "password 'policy' is described in the docs",
        "users are identified by email",
        "ALTER SYSTEM SET password_encryption = 'scram-sha-256';",
        "auth_basic off;\nssl on;\n",
        "token: required",
        "\"hello\" \"world\"",
        "\"not found\" \"try again\"",
        "api-key: see the docs",
        "secret 'opschain-db' not found",
        "curl -A 'agent: x' https://h",
        "PASSWORD NULL",
        "the password \u{201c}x\u{201d} is not shown",
        "echo done && curl -S https://h",
        "https://h.example.com/api/push/status",
        "https://h.example.com/integrations/slack",
        "https://h.example.com/a?ref=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "https://h.example.com/ping",
        "https://calendar.google.com/",
        "{{ .Values.password }}",
        "PGPASSWORD=$(cat /run/secrets/pg) psql",
        "mysql -p$MYSQL_PASSWORD",
        "--password-file /etc/secret --port 80",
        "user www-data;\nworker_processes 2;\n",
        "\"~*bot\" \"1\";",
        "grant select on all tables in schema public to app;",
        "ALTER ROLE app VALID UNTIL '2027-01-01';",
        "my_token expired",
        "AUTH_TOKEN missing.",
        "registry.example.com:5000/opschain/api@sha256:00",
        "mail me@acme.com:25/inbox",
        "at 10:30@host:22/x",
        "rocommunity is a word",
        "$5 off, $6 on",
        "a: $1$",
        "{SHA} is a scheme",
        "app.config['SECRET_KEY'] = os.environ['SECRET_KEY']",
        "gitlab_rails['smtp_port'] = 465",
        "[token]: https://h.example.com/token",
        "proxy_set_header Authorization $http_authorization;\nproxy_set_header Authorization \"Bearer $token\";\n",
        "proxy_set_header X-Forwarded-For $remote_addr;\nadd_header X-Frame-Options \"DENY\" always;\n",
        "add_header Set-Cookie \"Path=/; HttpOnly; Secure\";",
        "proxy_hide_header X-Api-Key;",
        "fastcgi_param AUTH_TYPE basic;\nfastcgi_param SSL_KEY /etc/tls/tls.key;\n",
        "http-request set-header X-Api-Key %[env(API_KEY)]",
        "RequestHeader set X-Token \"%{TOKEN}e\"",
        "SetEnv APP_MODE production",
        "set the token to something",
        "<property><name>fs.s3a.endpoint</name><value>h.example.com</value></property>",
        "<setting name=\"port\">5432</setting>",
        "<name>fs.s3a.secret.key</name><value>${KEY}</value>",
        "{port, \"5672\"}",
        "{key, \"value\"}",
        "(setq tab-width \"4\")",
        "first\n{\"name\":\"DB_HOST\",\"value\":\"db.example.com\"}\nlast",
        "first\n{\"level\":\"info\",\"msg\":\"ready\"}\nlast",
        "user_id=\"alice\"",
        "//cdn.example.com/lib.js",
        "// mail me@acme.com",
        "user:name@account/db",
        "token expired",
        "token is missing",
        "INSERT INTO settings (key, value) VALUES ('theme', 'dark');",
        "INSERT INTO users (name, password) VALUES ($1, $2);",
        "INSERT INTO users (name) VALUES ('a');",
        "select pgp_sym_encrypt(x, key)",
    ];
    let is_masked = |text: &&str| is_secret(&Path::of(&["plain"]), None, &Value::String((*text).into()));
    let masked: Vec<&str> = harmless.into_iter().filter(is_masked).collect();
    assert_eq!(masked, Vec::<&str>::new());
}

#[test]
fn what_stands_beside_plain_fields_is_hidden_all_the_same() {
    let yaml = "routing_key: abcdefghij\nlicense_key: correct-horse\nuser_key: abcdefghij\nuserKey: Sx1nyTrjQ9\nhostKey: Sx1nyTrjQ9\nsshHostKey: abcdefghij\nlicenseKey: abcdefghij\npublicLinkSalt: abcdefghij\nunlockCode: abcdefghij\ncsrfCookie: Sx1nyTrjQ9\nx-honeycomb-team: abcdefghij\ntokenKey: hunter22\nadminTokenKey: Zx9-Qw8-Lk7\nclientSecretKey: my-entry-name-17\nsecretKey: my-entry-name-17\ntlsKey: Sx1nyTrjQ9\nroutingKey: 9f86d081884c7d659a2feaa0c55ad015\nlicense: ABCD-1234-EFGH\nhmac: hunter22\nsecrets: Sx1nyTrj\nother: {secrets: [Sx1nyTrj, abc-d]}\nencrypt: pUqJrVyVRjBjsiYEkMBtFQYfWyJIvBsBXkvDwyCCuos=\nvalue: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b\nvpc: xyz-0a1b2c3d4e5f67890\nlozinka: hunter22\n";
    let tree = Tree::parse(yaml.as_bytes()).unwrap();
    let found: Vec<String> = secrets(&tree).iter().map(|(path, ..)| path.to_string()).collect();
    let expected = [
        "routing_key",
        "license_key",
        "user_key",
        "userKey",
        "hostKey",
        "sshHostKey",
        "licenseKey",
        "publicLinkSalt",
        "unlockCode",
        "csrfCookie",
        "x-honeycomb-team",
        "tokenKey",
        "adminTokenKey",
        "clientSecretKey",
        "secretKey",
        "tlsKey",
        "routingKey",
        "license",
        "hmac",
        "secrets",
        "other.secrets[0]",
        "encrypt",
        "value",
        "vpc",
        "lozinka",
    ];
    assert_eq!(found, expected);
}
