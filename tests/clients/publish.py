"""Publishes with paho-mqtt (1.x and 2.x), across reconnects, and ends when everything is acknowledged.

    publish.py HOST PORT IDENTITY VERSION QOS COUNT CLIENT [ALPN]
"""

import json
import ssl
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

host, port, identity, version, qos, count, client_id = sys.argv[1:8]
qos, count = int(qos), int(count)
v5 = version == "5"

options = {"client_id": client_id, "protocol": mqtt.MQTTv5 if v5 else mqtt.MQTTv311}
if not v5:
    options["clean_session"] = False
if hasattr(mqtt, "CallbackAPIVersion"):
    options["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
client = mqtt.Client(**options)
context = ssl.create_default_context(cafile=f"{identity}/ca.pem")
context.load_cert_chain(f"{identity}/cert.pem", f"{identity}/key.pem")
if len(sys.argv) > 8:
    context.set_alpn_protocols([sys.argv[8]])
client.tls_set_context(context)
client.username_pw_set("anybody", "anything")
client.will_set("status", "gone", qos=1, retain=True)
client.reconnect_delay_set(1, 2)
client.max_inflight_messages_set(20)

connected = threading.Event()
acknowledged = threading.Semaphore(0)
client.on_publish = lambda *_: acknowledged.release()


def on_connect(_client, _userdata, _flags, reason, *_rest):
    if reason != 0:
        sys.exit(f"CONNACK: {reason}")
    connected.set()


client.on_connect = on_connect
arguments = {}
if v5:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    arguments = {"clean_start": False, "properties": properties}
client.connect(host, int(port), keepalive=5, **arguments)
client.loop_start()
if not connected.wait(30):
    sys.exit("no connection")
print("connected", flush=True)
for number in range(count):
    payload = {"ts": 1_700_000_000_000 + number, "values": {"m": number}}
    client.publish("v1/devices/me/telemetry", json.dumps(payload), qos=qos)
for number in range(count):
    if not acknowledged.acquire(timeout=60):
        sys.exit(f"only {number} of {count} are acknowledged")
client.disconnect()
client.loop_stop()
print("acknowledged", flush=True)
