import { params, log, Input, metric } from 'aevir:task/context@1.0.0';

export function run() {
  const { word } = JSON.parse(params());
  const input = Input.open('text');
  const text = new TextDecoder().decode(input.read(0n, Number(input.size())));
  const count = text.split(word).length - 1;
  log('info', `${text.length} characters`);
  metric('count', 0n, count);
  return JSON.stringify({ count });
}
