vcl 4.1;

backend default none;

sub vcl_recv {
    if (req.url == "/" || req.url == "/items.json") {
        return (synth(200));
    }
    return (synth(404));
}

sub vcl_synth {
    if (resp.status == 200 && req.url == "/items.json") {
        set resp.http.Content-Type = "application/json";
        synthetic({"["first"]"});
        return (deliver);
    }
}
