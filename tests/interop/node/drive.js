// Drives a member with the npm client etcd3 and prints what it saw as one JSON object.
"use strict";

const fs = require("fs");
const { Etcd3 } = require("etcd3");

const env = process.env;

async function main() {
  const client = new Etcd3({
    hosts: env.ETCDCTL_ENDPOINTS,
    credentials: {
      rootCertificate: fs.readFileSync(env.ETCDCTL_CACERT),
      privateKey: fs.readFileSync(env.ETCDCTL_KEY),
      certChain: fs.readFileSync(env.ETCDCTL_CERT),
    },
  });
  const seen = {};

  await client.put("node/a").value("1");
  await client.put("node/b").value("2");
  seen.get = await client.get("node/a").string();
  seen.missing = await client.get("node/none").string();
  seen.prefix = await client.getAll().prefix("node/").strings();
  seen.count = await client.getAll().prefix("node/").count();

  const txn = await client
    .if("node/a", "Value", "==", "1")
    .then(client.put("node/a").value("3"), client.get("node/b"))
    .else(client.get("node/a"))
    .commit();
  seen.succeeded = txn.succeeded;
  seen.responses = txn.responses.length;

  const watcher = await client.watch().prefix("node/w/").create();
  const events = new Promise((resolve) => {
    const list = [];
    const note = (kind) => (kv) => {
      list.push([kind, kv.key.toString(), kv.value.toString()]);
      if (list.length === 3) resolve(list);
    };
    watcher.on("put", note("put"));
    watcher.on("delete", note("delete"));
  });
  await client.put("node/w/k").value("x");
  await client.put("node/w/k").value("y");
  await client.delete().key("node/w/k");
  seen.events = await events;
  await watcher.cancel();

  const lease = client.lease(30);
  await lease.put("node/leased").value("held");
  seen.leased = await client.get("node/leased").string();
  await lease.keepaliveOnce();
  await lease.revoke();
  seen.revoked = await client.get("node/leased").string();
  seen.error = await client.leaseClient
    .leaseRevoke({ ID: "999" })
    .then(() => null, (error) => error.constructor.name);

  seen.deleted = (await client.delete().prefix("node/")).deleted;
  client.close();
  console.log(JSON.stringify(seen));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
