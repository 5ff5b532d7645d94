// node:http with nothing for signals.
require('http').createServer((request, response) => {
  const answer = () => {
    response.writeHead(request.url === '/' || request.url === '/slow' ? 200 : 404, { 'content-type': 'application/json' });
    response.end('{"ok":true}');
  };
  request.url === '/slow' ? setTimeout(answer, 2000) : answer();
}).listen(process.env.PORT, '127.0.0.1');
