import { BlockList, isIP } from 'node:net';
import { ConfigError } from '../../settings/config.js';

/**
 * The proxies of TRUST_PROXY as Fastify takes them.
 *
 * @throws ConfigError that names what is no address
 */
export function trustedProxies(list = ''): string[] | false {
  if (list === '') return false;
  const proxies = list.split(',').map((proxy) => proxy.trim());
  for (const proxy of proxies) {
    if (isRange(proxy)) continue;
    throw new ConfigError(
      `TRUST_PROXY has ${JSON.stringify(proxy)} in it, but must be addresses or ranges such as 10.0.0.0/8`,
    );
  }
  return proxies;
}

function isRange(text: string): boolean {
  const [address, bits = '1', ...more] = text.split('/');
  const most = { 4: 32, 6: 128 }[isIP(address)];
  return most !== undefined && more.length === 0 && /^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= most;
}

/** Tells of an address whether it is that of one of them. */
export function membershipOf(ranges: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const range of ranges) {
    const [address, bits] = range.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return (address) => {
    const plain = address.replace(/^::ffff:(?=\d+\.)/, ''); // how an IPv6 socket writes an address of IPv4
    return isIP(plain) !== 0 && list.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4');
  };
}
