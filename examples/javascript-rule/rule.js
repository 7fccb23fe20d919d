// *Kubernetes.System.Principal.PublicIP* in JavaScript: detects service accounts, nodes and principals of the cloud
// that were used from a public address outside the cloud's own infrastructure. Their tokens may be stolen.
//
// It has the same verdict on every event as the rule in Rust (rules-wasm/system-principal-public-ip).

import { parseAddress } from './address.js';
import { makeAlert } from './alert.js';
import { isComplete, readEvent } from './event.js';

const EKS = 'Amazon.EKS.Audit';
const AKS = 'Azure.MonitorActivity';
const GKE = 'GCP.AuditLog';

const SYSTEM_PRINCIPALS = ['system:serviceaccount:', 'system:node:', 'eks:', 'aks:'];

// Role that AWS's control plane assumes to manage add-ons and nodes.
const EKS_MANAGERS = ['eks:addon-manager', 'eks:node-manager'];
const EKS_MANAGER_ROLE = ':assumed-role/AWSWesleyClusterManagerLambda';

// Service accounts in `kube-system` of the components that AKS runs on nodes.
const AKS_NODE_ACCOUNTS = [
  'csi-azuredisk-node-sa',
  'csi-azurefile-node-sa',
  'csi-secrets-store-provider-azure',
  'cloud-node-manager',
].map((name) => `system:serviceaccount:kube-system:${name}`);

// Amazon's two networks.
const AWS = ['AS16509', 'AS14618'];
const AZURE = ['AS8075'];
const GOOGLE = ['AS15169', 'AS396982'];

// The component's export: the interface `rule` of wit/detection.wit.
export const rule = {
  evaluate(eventJson) {
    const event = readEvent(eventJson);
    return matches(event) ? alertAbout(event) : undefined;
  },
};

function matches(event) {
  const { username } = event;
  return (
    username != null &&
    isComplete(event) &&
    !isDenied(event) &&
    SYSTEM_PRINCIPALS.some((prefix) => username.startsWith(prefix)) &&
    event.sourceScope === 'public' &&
    !isCloudInfrastructure(event)
  );
}

// Returns whether the API server denied the request: with HTTP status 403, or on GKE with gRPC code 7,
// `PERMISSION_DENIED`.
function isDenied({ responseStatus, logType }) {
  const code = responseStatus?.code;
  return code === 403 || (code === 7 && logType === GKE);
}

// Returns whether the principal is one that the cloud itself uses from its own public addresses.
function isCloudInfrastructure(event) {
  const { username, userGroups, userArn } = event;
  const isNode = username.startsWith('system:node:');
  switch (event.logType) {
    case EKS:
      return (
        (EKS_MANAGERS.includes(username) && userArn != null && userArn.includes(EKS_MANAGER_ROLE)) ||
        (isNode &&
          userGroups.includes('system:nodes') &&
          userGroups.includes('system:authenticated') &&
          isFrom(event, AWS))
      );
    case AKS:
      return AKS_NODE_ACCOUNTS.includes(username) || (isNode && isFrom(event, AZURE));
    case GKE:
      return isNode && isFrom(event, GOOGLE);
  }
}

// Returns whether all known networks of the source addresses are the provider's. One is not enough, because clients can
// write all addresses but the last.
function isFrom({ asn }, provider) {
  return asn.length > 0 && asn.every((entry) => provider.includes(entry.asn));
}

function alertAbout(event) {
  const sourceIp = lastAddress(event.sourceIPs);
  const network = sourceIp === undefined ? undefined : networkOf(event, sourceIp);
  const number = network?.asn ?? undefined;

  let origin = '';
  if (number !== undefined) {
    origin = network.name == null ? ` (${number})` : ` (${number} ${network.name})`;
  }
  const address = sourceIp ?? '?';
  const place = event.cluster == null ? '' : ` in cluster ${event.cluster}`;
  return makeAlert(event, {
    title: `${event.username} used from public address ${address}${origin}${place}`,
    dedup: address,
    context: { source_ip: sourceIp, asn: number },
  });
}

// Returns the last valid source address. Clients can write all addresses but the last.
function lastAddress(texts) {
  for (let n = texts.length - 1; n >= 0; n -= 1) {
    const address = parseAddress(texts[n]);
    if (address !== undefined) {
      return address;
    }
  }
  return undefined;
}

// Returns the network of a source address: the entry with this address, or the only entry if it has no address.
function networkOf({ asn }, sourceIp) {
  if (asn.length === 1 && asn[0].address == null) {
    return asn[0];
  }
  return asn.find(({ address }) => address != null && parseAddress(address) === sourceIp);
}
