defmodule Palladion.Authenticator do
  @moduledoc """
  Logs in the way that you say, where none of the ready-made mechanisms fits.

      auth: [authenticator: MyApp.Login]
      auth: [authenticator: {MyApp.Login, key: System.fetch_env!("LOGIN_KEY")}]

  A module with this behaviour speaks for one connection at a time:

  ```
  the server                                   the module
     │ AUTHENTICATE, with its class ─────────► new/2, for each connection
     │ ◄────────────────────────── a token ─── initial_response/1
     │ AUTH_CHALLENGE ───────────────────────► evaluate_challenge/2, as often as the server asks
     │ ◄────────────────────────── a token ───
     │ AUTH_SUCCESS ─────────────────────────► on_success/2, if there is one
  ```

  A token is a binary of any bytes, which may be empty, or `nil` for none at all. The state is any
  term; it goes from one callback to the next.

  ## A complete one

  The server knows a key, too. It sends a challenge, and wants to see the key's HMAC of it; that it
  knows the key itself, it shows at the end.

      defmodule MyApp.Login do
        @behaviour Palladion.Authenticator

        @impl true
        def new(endpoint, options) do
          if endpoint.authenticator == "com.example.KeyAuthenticator",
            do: {:ok, %{key: options[:key], expected: nil}},
            else: {:error, "not the server that the key is for"}
        end

        # Who logs in.
        @impl true
        def initial_response(state), do: {:ok, "my_app", state}

        @impl true
        def evaluate_challenge(challenge, state) when byte_size(challenge) >= 16 do
          expected = mac(state.key, ["server", challenge])
          {:ok, mac(state.key, ["client", challenge]), %{state | expected: expected}}
        end

        def evaluate_challenge(_short, _state), do: {:error, "the challenge is too short"}

        # A server that doesn't know the key gets no query.
        @impl true
        def on_success(proof, %{expected: expected})
            when is_binary(proof) and byte_size(proof) == byte_size(expected) do
          if :crypto.hash_equals(proof, expected),
            do: :ok,
            else: {:error, "the server doesn't know the key"}
        end

        def on_success(_proof, _state), do: {:error, "the server shows no proof"}

        defp mac(key, text), do: :crypto.mac(:hmac, :sha256, key, text)
      end

  ## Where it runs

  Each login has a process of its own, so one that waits keeps no other. It is marked sensitive:
  neither the state nor the options are in crash dumps or crash reports. The options are kept
  where they can't be printed, and given to `new/2` there.

  For each answer there is `auth: [timeout:]` (default 5,000 ms); `new/2` and `initial_response/1`
  share one. `{:error, reason}`, an exception, an exit, a wrong return value and an answer that
  comes too late fail this connection alone, with the reason `:authenticator_failed` or
  `:authenticator_timeout` of `Palladion.ConnectionError`. Its detail names the callback and the
  kind of failure, never a value. Only a `reason` that is a text or an atom is shown, so no secret
  may stand in it.

  After the last answer the process ends with the reason `:shutdown`. If the connection is given
  up, it is killed, whatever it is doing. Processes that the module starts should be linked to it,
  to end with it in both cases.

  What it sends may be a secret, for all that is known: without TLS it needs
  `auth: [allow_plaintext_password: true]`. Which servers it is for, it says in `new/2`.
  """

  alias Palladion.Authenticator.Endpoint

  @typedoc "What goes from one callback to the next"
  @type state :: term()

  @typedoc "What is sent to the server"
  @type token :: binary() | nil

  @doc """
  A connection begins to log in.

  `endpoint` says to which server; `options` are those of `authenticator: {module, options}`, or
  `[]`.
  """
  @callback new(endpoint :: Endpoint.t(), options :: term()) ::
              {:ok, state()} | {:error, reason :: term()}

  @doc """
  The first token, before the server has said anything but its class.
  """
  @callback initial_response(state()) :: {:ok, token(), state()} | {:error, reason :: term()}

  @doc """
  The answer to what the server has sent, which may be empty.
  """
  @callback evaluate_challenge(challenge :: binary(), state()) ::
              {:ok, token(), state()} | {:error, reason :: term()}

  @doc """
  The server has accepted the login, with a last token or with `nil`.

  Here it can be verified that it is the right server; after an error it gets no query. Without
  this callback any token will do.
  """
  @callback on_success(token(), state()) :: :ok | {:error, reason :: term()}

  @optional_callbacks on_success: 2
end
