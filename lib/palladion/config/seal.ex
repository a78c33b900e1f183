defmodule Palladion.Config.Seal do
  @moduledoc false
  # Internal: options whose secrets can't be printed.
  #
  # A supervisor prints its children's start arguments, and a crash dump holds them, so
  # `Palladion.child_spec/1` seals the options first. A password for the server becomes a
  # `Palladion.Secret`. What Elixir must read again (a private key, the password of its file)
  # becomes a closure, which prints as a function and isn't in a crash dump. So does the value
  # of every unknown option, for it may be a misspelt `password:`.

  alias Palladion.Config.{Options, Schema}
  alias Palladion.Secret

  @doc false
  # Sealing sealed options changes nothing.
  @spec seal(term()) :: term()
  def seal(options) do
    seal_section(options, Schema.general(), fn
      :auth, value -> seal_section(value, Schema.auth(), &seal_auth/2)
      :tls, value -> seal_tls(value)
      _name, value -> value
    end)
  end

  @doc false
  # The section `tls:`, or what is to change of it.
  @spec seal_tls(term()) :: term()
  def seal_tls(options), do: seal_section(options, Schema.TLS.options(), fn _, other -> other end)

  defp seal_section(options, schema, seal_known) do
    cond do
      is_atom(options) -> options
      Keyword.keyword?(options) -> Enum.map(options, &seal_option(&1, schema, seal_known))
      true -> close(options)
    end
  end

  defp seal_option({name, value}, schema, seal_known) do
    case Keyword.fetch(schema, name) do
      :error ->
        {name, close(value)}

      {:ok, spec} ->
        sealed = seal_known.(name, value)
        {name, if(spec[:secret], do: close(sealed), else: sealed)}
    end
  end

  # What is no password stays as it is, to be found wrong later.
  defp seal_auth(:password, value) do
    case text(value) do
      {:ok, text} when text != "" ->
        if String.contains?(text, <<0>>), do: value, else: Secret.wrap(text)

      _ ->
        value
    end
  end

  defp seal_auth(_name, value), do: value

  defp close(open) when is_function(open, 0) or open in [nil, "", []], do: open
  defp close(%Secret{} = secret), do: secret

  # Such a closure is kept as long as the cluster runs, to load files again. It has the value in
  # two halves, of which each is random, so that a dump of the memory doesn't show it either.
  defp close(value) do
    plain = :erlang.term_to_binary(value)
    pad = :crypto.strong_rand_bytes(byte_size(plain))
    masked = :crypto.exor(plain, pad)
    fn -> masked |> :crypto.exor(pad) |> :erlang.binary_to_term() end
  end

  @doc false
  # The value of a secret option, sealed or not: a text, a `Palladion.Secret`, or `nil`
  # where there is none. Functions that a user gave run here.
  @spec open(term()) :: {:ok, String.t() | Secret.t() | nil} | {:error, atom(), String.t()}
  def open(nil), do: {:ok, nil}
  def open(%Secret{} = secret), do: {:ok, secret}

  def open(fun) when is_function(fun, 0) do
    case call(fun) do
      {:ok, again} when is_function(again) -> not_text()
      {:ok, value} -> open(value)
      {:error, _reason, _message} = error -> error
    end
  end

  def open(value) do
    case text(value) do
      {:ok, ""} -> {:error, :empty, "is empty; is an environment variable unset?"}
      {:ok, text} -> {:ok, text}
      :error -> not_text()
    end
  end

  defp not_text, do: {:error, :invalid_value, "must be a string or a function that returns one"}

  @doc false
  # The value of a secret option that is no text, sealed or not, or what a user's function returns.
  @spec call(term()) :: {:ok, term()} | {:error, atom(), String.t()}
  def call(fun) when is_function(fun, 0) do
    case fun.() do
      nil -> {:error, :invalid_value, "is a function that returned nil"}
      value -> {:ok, value}
    end
  rescue
    # What is raised may hold the secret: only its kind is told.
    error -> {:error, :function_failed, "is a function that raised #{inspect(error.__struct__)}"}
  catch
    kind, _value -> {:error, :function_failed, "is a function that ended with #{kind}"}
  end

  def call(value), do: {:ok, value}

  defp text(value) when is_binary(value), do: {:ok, value}
  defp text([]), do: {:ok, ""}
  defp text(value), do: Options.charlist(value)
end
