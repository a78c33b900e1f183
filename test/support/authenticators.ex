defmodule Palladion.Test.Authenticators do
  @moduledoc """
  Authenticators as users write them, for tests.
  """

  defmodule CramMD5 do
    @moduledoc "CRAM-MD5: the server speaks first, and is answered once. Its options are `{username, password}`."

    @behaviour Palladion.Authenticator

    @impl true
    def new(_endpoint, {username, password}), do: {:ok, {username, password}}

    @impl true
    def initial_response(state), do: {:ok, nil, state}

    @impl true
    def evaluate_challenge("", state), do: {:ok, "", state}

    def evaluate_challenge(challenge, {username, password} = state) do
      mac = :crypto.mac(:hmac, :md5, password, challenge)
      {:ok, username <> " " <> Base.encode16(mac, case: :lower), state}
    end
  end

  defmodule Scripted do
    @moduledoc """
    Does as it is told: its options are functions by the names of the callbacks. What isn't given is answered with the callback's
    name, and the number of challenges so far.
    """

    @behaviour Palladion.Authenticator

    @impl true
    def new(endpoint, options) do
      case options[:new] do
        nil -> {:ok, {0, options}}
        fun -> with({:ok, _} <- fun.(endpoint), do: {:ok, {0, options}})
      end
    end

    @impl true
    def initial_response({_count, options} = state) do
      case options[:initial_response] do
        nil -> {:ok, "initial", state}
        fun -> with({:ok, token} <- fun.(), do: {:ok, token, state})
      end
    end

    @impl true
    def evaluate_challenge(challenge, {count, options}) do
      state = {count + 1, options}

      case options[:evaluate_challenge] do
        nil -> {:ok, "answer #{count + 1}", state}
        fun -> with({:ok, token} <- fun.(challenge), do: {:ok, token, state})
      end
    end

    @impl true
    def on_success(token, {_count, options}) do
      case options[:on_success] do
        nil -> :ok
        fun -> fun.(token)
      end
    end
  end
end
