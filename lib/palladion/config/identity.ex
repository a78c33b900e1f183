defmodule Palladion.Config.Identity do
  @moduledoc false
  # Internal: our own certificate and its key, for servers that verify their clients.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Certificates, Pem, PrivateKey, Seal}
  alias Palladion.{ConfigError, Secret}

  @typedoc "The chain, leaf first, and the key in its format"
  @type t :: {[binary()], {PrivateKey.format(), Secret.t()} | nil}

  @none {[], nil}

  @doc false
  @spec parse(map()) :: {t(), [ConfigError.problem()]}
  def parse(values) do
    case values do
      %{certfile: nil, keyfile: nil, password: nil} ->
        {@none, []}

      %{certfile: nil, keyfile: nil} ->
        {@none, [problem([:tls, :password], :conflict, "has no effect without a keyfile:")]}

      %{certfile: nil} ->
        message = "needs a certfile: with the certificate of this key"
        {@none, [problem([:tls, :keyfile], :missing_certificate, message)]}

      %{} ->
        load(values)
    end
  end

  # The certificate, the password and the key are looked at even if one of them is bad.
  defp load(values) do
    certificate_blocks = Pem.read(values.certfile)
    chain = with {:ok, blocks} <- certificate_blocks, do: Certificates.from_blocks(blocks)
    key = key(values, certificate_blocks)

    case {chain, key} do
      {{:ok, chain}, {:ok, key}} ->
        match(chain, key, values)

      _ ->
        problems =
          for {:error, failure} <- [with_option(chain, :certfile, values), key],
              do: to_problem(failure)

        {@none, Enum.uniq(problems)}
    end
  end

  defp key(values, certificate_blocks) do
    option = if values.keyfile, do: :keyfile, else: :certfile
    blocks = if values.keyfile, do: Pem.read(values.keyfile), else: certificate_blocks

    with {:ok, password} <- password(values.password),
         {:ok, blocks} <- with_option(blocks, option, values),
         :ok <- bundled?(option, blocks, values) do
      blocks |> PrivateKey.from_blocks(password) |> with_option(option, values)
    end
  end

  defp password(value) do
    case Seal.open(value) do
      {:ok, %Secret{}} ->
        message = "can't be a Palladion.Secret, for Erlang must read it; give a function"
        {:error, {:password, :invalid_value, message}}

      {:ok, text} ->
        {:ok, text}

      {:error, reason, message} ->
        {:error, {:password, reason, message}}
    end
  end

  defp bundled?(:keyfile, _blocks, _values), do: :ok

  defp bundled?(:certfile, blocks, values) do
    if PrivateKey.any?(blocks) do
      :ok
    else
      message = "has no private key in it, and no keyfile: is given"
      {:error, {:certfile, :missing_key, "#{inspect(values.certfile)} #{message}"}}
    end
  end

  # A failure of a file gets the option that named the file; both passwords' failures are
  # the password's.
  defp with_option({:error, {reason, message}}, option, values) do
    path = if reason in [:missing_password, :wrong_password], do: :password, else: option
    {:error, {path, reason, "#{inspect(values[option])} #{message}"}}
  end

  defp with_option(other, _option, _values), do: other

  defp match([leaf | issuers] = chain, key, values) do
    option = if values.keyfile, do: :keyfile, else: :certfile
    file = inspect(values[option])

    cond do
      belongs?(leaf, key) ->
        {{chain, {key.format, Secret.wrap(key.der)}}, []}

      Enum.any?(issuers, &belongs?(&1, key)) ->
        message = "must start with the certificate of the key, then its intermediates"
        failure = "#{inspect(values.certfile)} #{message}"
        {@none, [problem([:tls, :certfile], :certificate_order, failure)]}

      true ->
        message = "has a key that doesn't belong to the certificate"
        {@none, [problem([:tls, option], :key_mismatch, "#{file} #{message}")]}
    end
  end

  defp belongs?(certificate, key) do
    {:ok, public_key} = Certificates.public_key(certificate)
    PrivateKey.matches?(key, public_key)
  end

  defp to_problem({option, reason, message}), do: problem([:tls, option], reason, message)
end
