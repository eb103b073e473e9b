
// Logs in with the npm client etcd3 and prints what it was allowed as one JSON object.
"use strict";

const fs = require("fs");
const { Etcd3 } = require("etcd3");

const env = process.env;

function login(username, password) {
  return new Etcd3({
    hosts: env.ETCDCTL_ENDPOINTS,
    auth: { username, password },
    credentials: {
      rootCertificate: fs.readFileSync(env.ETCDCTL_CACERT),
      privateKey: fs.readFileSync(env.ETCDCTL_KEY),
      certChain: fs.readFileSync(env.ETCDCTL_CERT),
    },
  });
}

async function tried(what) {
  try {
    const found = await what();
    return found === null || typeof found === "string" ? found : "done";
  } catch (error) {
    return error.constructor.name + ": " + error.message.replace(/^.*etcdserver: /, "");
  }
}

async function main() {
  const anna = login("anna", "of-anna");
  const seen = {
    put: await tried(() => anna.put("app/1").value("1")),
    get: await tried(() => anna.get("app/1").string()),
    "put elsewhere": await tried(() => anna.put("b").value("1")),
    "get elsewhere": await tried(() => anna.get("b").string()),
    lease: await tried(() => anna.lease(60).grant().then(() => null)),
  };
  anna.close();
  const wrong = login("anna", "wrong");
  seen.wrong = await tried(() => wrong.get("app/1").string());
  wrong.close();
  console.log(JSON.stringify(seen));
  process.exit(0);
}

main();
