#!/usr/bin/env python3
"""An OpenAI-compatible endpoint on loopback that stands in for a teacher when time and memory are measured.

    teacher.py [--port PORT]        prints its address, and serves until it is ended

It answers yes when the two prompts share three quarters of their words: no judgement to train on.
"""
import argparse
import http.server
import json
import re

PROMPTS = re.compile(r'Prompt 1:\n"""\n(.*?)\n"""\n\nPrompt 2:\n"""\n(.*?)\n"""', re.DOTALL)


class Teacher(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = asked["messages"][-1]["content"]
        first, second = (set(text.lower().split()) for text in PROMPTS.search(question).groups())
        same = len(first & second) >= 0.75 * len(first | second)
        body = json.dumps({
            "choices": [{"message": {"role": "assistant", "content": "yes" if same else "no"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": len(question) // 4, "completion_tokens": 1},
        }).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Teacher)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
