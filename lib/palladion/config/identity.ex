defmodule Palladion.Config.Identity do
  @moduledoc false
  # Internal: our own certificate and its key, for servers that verify their clients.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Certificates, Pem, Pkcs12, PrivateKey, Seal}
  alias Palladion.{ConfigError, Secret}

  @typedoc "The chain, leaf first, and the key in its format"
  @type t :: {[binary()], {PrivateKey.format(), Secret.t()} | nil}

  @none {[], nil}

  @doc false
  @spec parse(map()) :: {t(), [ConfigError.problem()]}
  def parse(values) do
    given = for name <- [:cert, :key, :certfile, :keyfile], values[name] != nil, do: name

    case given do
      [] when values.password == nil ->
        {@none, []}

      [] ->
        {@none, [problem([:tls, :password], :conflict, "has no effect without a keyfile:")]}

      [:keyfile] ->
        message = "needs a certfile: with the certificate of this key"
        {@none, [problem([:tls, :keyfile], :missing_certificate, message)]}

      [file | _] when file in [:certfile, :keyfile] ->
        from_files(values)

      _ ->
        {in_memory, files} = Enum.split_with(given, &(&1 in [:cert, :key]))
        from_memory(in_memory, files, values)
    end
  end

  # From memory

  defp from_memory(in_memory, [_ | _] = files, _values) do
    message = "can't be given together with #{Enum.map_join(files, " and ", &"#{&1}:")}"
    {@none, for(name <- in_memory, do: problem([:tls, name], :conflict, message))}
  end

  defp from_memory([:cert], [], _values),
    do: {@none, [problem([:tls, :cert], :missing_key, "needs key: with its private key")]}

  defp from_memory([:key], [], _values) do
    message = "needs cert: with the certificate of this key"
    {@none, [problem([:tls, :key], :missing_certificate, message)]}
  end

  defp from_memory(_both, [], %{password: password}) when password != nil do
    message = "has no effect with key:, which is not encrypted"
    {@none, [problem([:tls, :password], :conflict, message)]}
  end

  defp from_memory(_both, [], values) do
    case {chain_in_memory(values.cert), key_in_memory(values.key)} do
      {{:ok, chain}, {:ok, key}} -> match(chain, key, {:cert, "it"}, {:key, "it"})
      {chain, key} -> {@none, for({:error, failure} <- [chain, key], do: to_problem(failure))}
    end
  end

  defp chain_in_memory(der) when is_binary(der), do: chain_in_memory([der])

  defp chain_in_memory(chain) do
    if is_list(chain) and chain != [] and not List.improper?(chain) and
         Enum.all?(chain, &Certificates.valid?/1) do
      {:ok, chain}
    else
      message = "must be a DER certificate or a non-empty list of them; a file is for certfile:"
      {:error, {:cert, :malformed, message}}
    end
  end

  defp key_in_memory(value) do
    with {:ok, {type, der}} <- Seal.call(value),
         {:ok, block} <- PrivateKey.block(type, der),
         {:ok, key} <- PrivateKey.from_blocks([block], nil) do
      {:ok, key}
    else
      {:error, {reason, message}} -> {:error, {:key, reason, "it #{message}"}}
      {:error, reason, message} -> {:error, {:key, reason, message}}
      _ -> {:error, {:key, :invalid_value, PrivateKey.forms()}}
    end
  end

  # From files

  defp from_files(values) do
    case Pem.read_any(values.certfile) do
      {:pkcs12, content} -> from_keystore(content, values)
      blocks -> from_blocks(blocks, values)
    end
  end

  defp from_keystore(_content, %{keyfile: keyfile}) when keyfile != nil do
    message =
      "can't be given together with a PKCS#12 certfile:, which has the key; a reload takes it " <>
        "away with keyfile: nil"

    {@none, [problem([:tls, :keyfile], :conflict, message)]}
  end

  defp from_keystore(content, values) do
    with {:ok, password} <- keystore_password(values.password),
         {:ok, chain, key} <- content |> Pkcs12.read(password) |> with_option(:certfile, values) do
      {{chain, key}, []}
    else
      {:error, failure} -> {@none, [to_problem(failure)]}
    end
  end

  defp keystore_password(value) do
    case Seal.open(value) do
      {:ok, nil} -> {:ok, nil}
      {:ok, text_or_secret} -> {:ok, Secret.wrap(text_or_secret)}
      {:error, reason, message} -> {:error, {:password, reason, message}}
    end
  end

  # The certificate, the password and the key are looked at even if one of them is bad.
  defp from_blocks(certificate_blocks, values) do
    chain = with {:ok, blocks} <- certificate_blocks, do: Certificates.from_blocks(blocks)
    key = key(values, certificate_blocks)

    case {chain, key} do
      {{:ok, chain}, {:ok, key}} ->
        option = key_option(values)
        shown = &{&1, inspect(values[&1])}
        match(chain, key, shown.(:certfile), shown.(option))

      _ ->
        problems =
          for {:error, failure} <- [with_option(chain, :certfile, values), key],
              do: to_problem(failure)

        {@none, Enum.uniq(problems)}
    end
  end

  defp key_option(values), do: if(values.keyfile, do: :keyfile, else: :certfile)

  defp key(values, certificate_blocks) do
    option = key_option(values)
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
        message =
          "can't be a Palladion.Secret, for Erlang must read it (of PKCS#12 it can); give a " <>
            "function"

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

  # Each option with what to call its value in a message.
  defp match([leaf | issuers] = chain, key, {cert_option, cert_shown}, {key_option, key_shown}) do
    cond do
      Certificates.public_key(leaf) == :error ->
        message = "has a certificate whose kind of key is not known; take RSA, ECDSA or Ed25519"
        {@none, [problem([:tls, cert_option], :unsupported_key, "#{cert_shown} #{message}")]}

      belongs?(leaf, key) ->
        {{chain, {key.format, Secret.wrap(key.der)}}, []}

      Enum.any?(issuers, &belongs?(&1, key)) ->
        message = "must start with the certificate of the key, then its intermediates"
        {@none, [problem([:tls, cert_option], :certificate_order, "#{cert_shown} #{message}")]}

      true ->
        message = "has a key that doesn't belong to the certificate"
        {@none, [problem([:tls, key_option], :key_mismatch, "#{key_shown} #{message}")]}
    end
  end

  defp belongs?(certificate, key) do
    case Certificates.public_key(certificate) do
      {:ok, public_key} -> PrivateKey.matches?(key, public_key)
      :error -> false
    end
  end

  defp to_problem({option, reason, message}), do: problem([:tls, option], reason, message)
end
