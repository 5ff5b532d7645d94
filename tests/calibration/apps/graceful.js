// node:http with the handler for SIGTERM that most examples show.
const server = require('http').createServer((request, response) => {
  const answer = () => {
    response.writeHead(request.url === '/' || request.url === '/slow' ? 200 : 404, { 'content-type': 'application/json' });
    response.end('{"ok":true}');
  };
  request.url === '/slow' ? setTimeout(answer, 2000) : answer();
}).listen(process.env.PORT, '127.0.0.1');
process.on('SIGTERM', () => server.close());
