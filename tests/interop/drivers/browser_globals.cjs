// What ic-websocket-js uses of a browser and Node 20 has not. `local` requires packages of the project.
"use strict";

module.exports = (local) => {
  globalThis.WebSocket = local("ws");
  globalThis.ErrorEvent ??= class ErrorEvent extends Event {
    constructor(type, { error, message } = {}) {
      super(type);
      this.error = error;
      this.message = message;
    }
  };
};
